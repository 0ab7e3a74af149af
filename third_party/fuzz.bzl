"""Fuzz targets: libFuzzer of clang 19, with the address and undefined behaviour sanitizers."""

def fuzz_test(name, srcs, corpus, linkopts = [], seconds = 10):
    """Builds a fuzzer from sources alone and runs it for a short while, beginning with a corpus.

    For longer: bazel build NAME_fuzzer, then bazel-bin/PACKAGE/NAME_fuzzer CORPUS_DIRECTORY.

    Args:
      name: the test.
      srcs: labels of all .cc and .h files, dependencies included: these are compiled with
        sanitizers, which the libraries of other targets are not.
      corpus: files to begin with.
      linkopts: libraries, such as -labsl_status.
      seconds: how long the test fuzzes.
    """
    native.genrule(
        name = name + "_fuzzer_build",
        testonly = True,
        srcs = srcs,
        outs = [name + "_fuzzer"],
        cmd = "clang++-19 -std=c++20 -O1 -g -I. -fsanitize=fuzzer,address,undefined " +
              "-fno-sanitize-recover=undefined -Wno-deprecated-declarations " +
              "$$(printf '%s\\n' $(SRCS) | grep '\\.cc$$') -o $@ " + " ".join(linkopts),
    )
    native.sh_test(
        name = name,
        size = "medium",
        srcs = ["//third_party:fuzz_test.sh"],
        args = ["$(rootpath :%s_fuzzer)" % name, str(seconds)] + ["$(rootpath %s)" % c for c in corpus],
        data = [":" + name + "_fuzzer"] + corpus,
    )
