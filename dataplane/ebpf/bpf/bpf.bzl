"""BPF objects: compiled by clang-19, embedded through a libbpf skeleton."""

def bpf_skeleton(name, src, hdrs, defines = [], visibility = None):
    """A cc_library `name` with "<package>/<name>.skel.h", whose functions are called `name`__*.

    Args:
      name: of the library and of the skeleton.
      src: the .bpf.c file.
      hdrs: headers and filegroups that it includes.
      defines: preprocessor definitions.
      visibility: of the library.
    """
    native.genrule(
        name = name + "_object",
        srcs = [src] + hdrs,
        outs = [name + ".bpf.o"],
        cmd = "clang-19 -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing -Wall -Wextra -Werror " +
              "-Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare " +
              " ".join(["-D" + d for d in defines]) +
              " -I. -I/usr/include/x86_64-linux-gnu -c $(location " + src + ") -o $@",
        visibility = visibility,
    )
    native.genrule(
        name = name + "_header",
        srcs = [name + ".bpf.o"],
        outs = [name + ".skel.h"],
        cmd = "/usr/sbin/bpftool gen skeleton $< name " + name + " > $@",
    )
    native.cc_library(
        name = name,
        hdrs = [name + ".skel.h"],
        linkopts = [
            "-lbpf",
            "-lelf",
            "-lz",
        ],
        visibility = visibility,
    )
