"""Tests that run in a small virtual machine with a distribution kernel."""

KERNELS = ["6.1", "6.12"]

def guest_tags(kernel, kernels = KERNELS):
    """Tags of a test in a guest. On all but the first of its kernels it runs only with test.sh --all."""
    return ["kernel", "vm"] + ([] if kernel == kernels[0] else ["newer_kernel"])

def vm_test(name, binary, kernels = KERNELS, args = [], env = {}, size = "large", tags = []):
    """Runs a test program as root in a guest, once for each kernel.

    Unlike a test of this machine's kernel, one that passed is not run again until its program, the scripts or the guest
    changes: test.sh says by an environment variable which guest that is.

    The kernels come from e2e/vm/kernels, which must have run before; the test fails without them.

    Args:
      name: a test_suite; the tests are name_6_1 and name_6_12.
      binary: a program whose status is the result, such as a testonly cc_binary with gtest_main. A
        cc_test does too, with the tag "manual" so that it is not also run on this machine.
      kernels: of KERNELS.
      args: arguments of the program, without spaces.
      env: for e2e/vm/run: VM_MEMORY, VM_CPUS, VM_CPU, VM_ARGS.
      size: as for any test.
      tags: more tags.
    """
    tests = []
    for kernel in kernels:
        test = name + "_" + kernel.replace(".", "_")
        tests.append(":" + test)
        native.sh_test(
            name = test,
            size = size,
            srcs = ["//e2e/vm:vm_test.sh"],
            args = [kernel, "$(rootpath %s)" % binary] + args,
            data = [binary, "//e2e/vm:scripts"],
            env = env,
            tags = guest_tags(kernel, kernels) + tags,
        )
    native.test_suite(name = name, tests = tests)
