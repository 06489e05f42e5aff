#!/usr/bin/env python3
"""plant.py on a made-up project: its verdicts, what it ends with, and that it puts everything back. usage: plant_test.py

The project is one file of numbers. Its cmake, ctest and test program are stand-ins that look at the planted copy, so that each
verdict can be brought about at will.
"""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PLANT = pathlib.Path(__file__).resolve().with_name("plant.py")

SOURCE = "one = 1\ntwo = 2\nthree = 3\nfour = 4\ntwice = 5\ntwice = 5\n"

# cmake -S TREE -B BUILD configures; cmake --build BUILD -j N --target T... makes test programs. Each program holds the source that
# it was built from, so that a program that was not built again does not see a fault.
CMAKE = r"""
import os, pathlib, sys
calls, words = os.environ["CALLS"], sys.argv[1:]
print("cmake", *words, file=open(calls, "a"))
if words[0] == "-S":
    build = pathlib.Path(words[words.index("-B") + 1])
    build.mkdir(parents=True, exist_ok=True)
    (build / "tree").write_text(words[1])
    sys.exit("CONFIGURE_FAILS" in os.environ)
build = pathlib.Path(words[1])
source = (pathlib.Path((build / "tree").read_text()) / "src" / "numbers").read_text()
if "=;" in source:
    sys.exit(1)
for target in words[words.index("--target") + 1:]:
    program = build / target
    program.write_text("#!" + sys.executable + " -IS\nSOURCE = " + repr(source) + "\n" + os.environ["PROGRAM"])
    program.chmod(0o755)
"""

# One is tested by suite.first, two by suite.second; three makes it crash.
PROGRAM = r"""
import json, os, sys
print("program", *sys.argv[1:], file=open(os.environ["CALLS"], "a"))
arguments = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
chosen = arguments.get("gtest_filter", "*")
tests = {"first": "one = 1" in SOURCE, "second": "two = 2" in SOURCE}
if chosen != "*":
    tests = {name: good for name, good in tests.items() if chosen == f"suite.{name}"}
if "three = 3" not in SOURCE:
    os.abort()
listed = [{"name": name, **({} if good else {"failures": ["no"]})} for name, good in tests.items()]
json.dump({"tests": len(tests), "testsuites": [{"name": "suite", "testsuite": listed}]}, open(arguments["gtest_output"].split(":", 1)[1], "w"))
sys.exit(not all(tests.values()))
"""

# ninja -t commands tells how the program of two sources is linked; the linker makes a program as cmake does.
NINJA = r"""
import os, pathlib, sys
words = sys.argv[1:]
print("ninja", *words, file=open(os.environ["CALLS"], "a"))
objects = "t/pantile-test-numbers.dir/first_test.cpp.o t/pantile-test-numbers.dir/second_test.cpp.o"
if "-t" in words:
    print(f": && link {objects} -o t/pantile-test-numbers core/libpantile.a tests/libshared.a && :")
else:
    for made in words[4:]:
        path = pathlib.Path(words[1]) / made
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
"""
LINK = r"""
import os, pathlib, sys
words = sys.argv[1:]
print("link", *words, file=open(os.environ["CALLS"], "a"))
source = (pathlib.Path(pathlib.Path("tree").read_text()) / "src" / "numbers").read_text()
program = pathlib.Path(words[words.index("-o") + 1])
program.write_text("#!" + sys.executable + " -IS\nSOURCE = " + repr(source) + "\n" + os.environ["PROGRAM"])
program.chmod(0o755)
"""

# Everything: it alone sees four. With -R it sees what scripts would.
CTEST = r"""
import os, pathlib, sys
words = sys.argv[1:]
print("ctest", *words, file=open(os.environ["CALLS"], "a"))
build = pathlib.Path(words[words.index("--test-dir") + 1])
source = (pathlib.Path((build / "tree").read_text()) / "src" / "numbers").read_text()
if "four = 4" not in source:
    print("The following tests FAILED:\n\t  7 - other.test (Failed)")
    sys.exit(8)
"""


def fault(name, old, new, tests='["numbers suite.first"]', more=""):
    return f"[[fault]]\nname = '{name}'\nfile = 'src/numbers'\nold = '{old}'\nnew = '{new}'\ntests = {tests}\n{more}\n"


class Project(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="pantile-plant-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.here = self.root / "tests" / "faults"
        self.here.mkdir(parents=True)
        shutil.copy(PLANT, self.here)
        (self.root / "src").mkdir()
        self.source = self.root / "src" / "numbers"
        self.source.write_text(SOURCE)
        (self.root / ".gitignore").write_text("build/\nbin/\n")
        subprocess.run(["git", "init", "-q", self.root], check=True)
        tools = self.root / "bin"
        tools.mkdir()
        for name, text in (("cmake", CMAKE), ("ctest", CTEST), ("ninja", NINJA), ("link", LINK)):
            (tools / name).write_text(f"#!{sys.executable} -IS\n{text}")
            (tools / name).chmod(0o755)
        self.calls = self.root / "bin" / "calls"
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(self.calls), "PROGRAM": PROGRAM}

    def plant(self, text, *arguments, **environment):
        """(exit status, what it printed) of a run with one list, named "made"."""
        (self.here / "made.toml").write_text(text)
        self.calls.write_text("")
        done = subprocess.run([sys.executable, self.here / "plant.py", *arguments], capture_output=True, text=True, check=False,
                              env={**self.environment, **environment})
        return done.returncode, done.stdout + done.stderr

    def verdicts(self):
        return {r["name"]: r["verdict"] for r in json.loads((self.root / "build" / "faults" / "results.json").read_text())}

    def expect(self, status, text, *arguments, says="", **environment):
        code, said = self.plant(text, *arguments, **environment)
        self.assertEqual(code, status, said)
        self.assertIn(says, said)
        return said

    def test_a_fault_that_its_test_sees_is_noticed(self):
        said = self.expect(0, fault("a", "one = 1", "one = 9"), says="1 of 1 faults noticed (100.0 %)")
        self.assertRegex(said, r"(?m)^noticed +a +\d+ s +numbers suite\.first$")
        self.assertIn("program --gtest_filter=suite.first ", self.calls.read_text())
        self.assertNotIn("ctest", self.calls.read_text())

    def test_a_crash_is_noticed(self):
        self.expect(0, fault("a", "three = 3", "three = 9"), says="numbers suite.first (ended with ")
        self.assertEqual(self.verdicts(), {"a": "noticed"})

    def test_a_fault_that_another_test_sees_is_noticed_elsewhere(self):
        self.expect(0, fault("a", "four = 4", "four = 9"), says="other.test")
        self.assertEqual(self.verdicts(), {"a": "elsewhere"})
        self.assertRegex(self.calls.read_text(), r"(?m)^ctest .*-LE install\|scripts\|boundaries\|faults")

    def test_the_named_tests_alone_are_tried_if_that_is_asked(self):
        self.expect(1, fault("a", "four = 4", "four = 9"), "--named", says="ERROR: a: survived")
        self.assertNotIn("ctest", self.calls.read_text())

    def test_the_filter_is_the_fault_s_own(self):
        # suite.second would see it; the fault names suite.first, and the stand-in for all of ctest sees nothing.
        self.expect(1, fault("a", "two = 2", "two = 9"), says="0 of 1 faults noticed (0.0 %)")
        self.assertEqual(self.verdicts(), {"a": "survived"})
        self.expect(0, fault("a", "two = 2", "two = 9", '["numbers suite.second"]'))
        self.expect(0, fault("a", "two = 2", "two = 9", '["numbers suite.first", "numbers suite.second"]'))
        self.expect(0, fault("a", "two = 2", "two = 9", '["numbers"]'))

    def test_whole_programs_say_how_many_faults_each_test_saw(self):
        said = self.expect(0, fault("a", "two = 2", "two = 9"), "--whole")
        self.assertRegex(said, r"(?m)^ +1 +1  numbers suite\.second$")

    def test_a_script_is_tested_through_ctest(self):
        self.expect(0, fault("a", "four = 4", "four = 9", '["ctest scripts.x"]'))
        self.assertRegex(self.calls.read_text(), r"(?m)^ctest .*-R scripts\.x$")
        self.assertNotIn("--build", self.calls.read_text())
        self.expect(0, fault("a", "four = 4", "four = 9", '["ctest api"]'))
        self.assertRegex(self.calls.read_text(), r"(?m)^cmake --build .*--target all$")

    def test_an_entry_that_no_longer_applies_is_stale(self):
        for old, new in (("none = 0", "x"), ("twice = 5", "twice = 6"), ("one = 1", "one = 1"), ("one = 1", "one =; 1")):
            self.expect(1, fault("a", old, new), says="ERROR: a: stale")
            self.assertEqual(self.verdicts(), {"a": "stale"}, old)
        self.expect(1, fault("a", "one = 1", "x").replace("src/numbers", "src/none"), says="ERROR: a: stale")
        self.expect(1, fault("a", "one = 1", "x"), says="cmake does not configure", CONFIGURE_FAILS="1")

    def test_what_the_compiler_must_refuse(self):
        self.expect(0, fault("a", "one = 1", "one =; 1", more="compiler = true"), says="the compiler")
        self.assertEqual(self.verdicts(), {"a": "noticed"})
        self.expect(0, fault("a", "one = 1", "one = 9", more="compiler = true"), says="numbers suite.first")

    def test_the_program_of_one_source(self):
        # Its own object and the library are built; the other sources' objects are not, nor linked.
        said = self.expect(0, fault("a", "one = 1", "one = 9", '["numbers/first_test suite.first"]'), says="numbers/first_test suite.first")
        self.assertIn("1 of 1 faults noticed", said)
        calls = self.calls.read_text()
        self.assertRegex(calls, r"(?m)^ninja -C \S+ -j 2 t/pantile-test-numbers\.dir/first_test\.cpp\.o core/libpantile\.a$")
        self.assertRegex(calls, r"(?m)^link t/pantile-test-numbers\.dir/first_test\.cpp\.o -o t/pantile-test-numbers-first_test core/libpantile\.a tests/libshared\.a$")
        # What tests share is built once, without a fault, and again where the fault is in the tests.
        self.assertRegex(calls, r"(?m)^ninja -C \S+ -j 2 tests/libshared\.a$")
        self.expect(2, fault("a", "one = 1", "one = 9", '["numbers/third_test"]'), says="pantile-test-numbers has no source third_test.cpp")

    def test_two_planters_keep_out_of_each_other_s_copies(self):
        work = self.root / "build" / "faults"
        work.mkdir(parents=True)
        with open(work / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.expect(2, fault("a", "one = 1", "one = 9"), says="another planter works in")
        self.expect(0, fault("a", "one = 1", "one = 9"))

    def test_a_filter_that_matches_nothing_is_stale(self):
        self.expect(1, fault("a", "one = 1", "one = 9", '["numbers suite.frist"]'), says="ERROR: a: stale numbers has no test suite.frist")

    def test_an_equivalent_fault_must_survive(self):
        equivalent = "equivalent = 'it is a comment'"
        said = self.expect(0, fault("a", "two = 2", "two = 9", more=equivalent) + fault("b", "one = 1", "one = 9"),
                           says="1 of 1 faults noticed")
        self.assertEqual(self.verdicts(), {"a": "equivalent", "b": "noticed"})
        self.assertNotIn("ERROR", said)
        self.expect(1, fault("a", "one = 1", "one = 9", more=equivalent), says="a is listed as equivalent, but numbers suite.first")
        self.expect(1, fault("a", "four = 4", "four = 9", more=equivalent), says="a is listed as equivalent")

    def test_what_the_machine_lacks_is_told_and_not_counted(self):
        self.expect(0, fault("a", "two = 2", "two = 9", more="needs = 'no_such_instruction'") + fault("b", "one = 1", "one = 9"),
                    says="1 of 1 faults noticed")
        self.assertEqual(self.verdicts(), {"a": "not here", "b": "noticed"})

    def test_nineteen_of_twenty_are_enough(self):
        seen = "".join(fault(f"seen-{n}", "one = 1", f"one = {20 + n}") for n in range(18))
        self.expect(1, seen + fault("hidden", "two = 2", "two = 9"), says="18 of 19 faults noticed (94.7 %)")
        self.expect(0, seen + fault("one-more", "one = 1", "one = 49") + fault("hidden", "two = 2", "two = 9"),
                    says="19 of 20 faults noticed (95.0 %)")

    def test_each_fault_is_planted_alone_and_taken_out_again(self):
        text = fault("a", "one = 1", "one = 9") + fault("b", "two = 2", "two = 9") + fault("c", "one = 1", "one =; 1")
        self.expect(1, text, "--workers", "1", says="ERROR: b: survived")
        self.assertEqual(self.verdicts(), {"a": "noticed", "b": "survived", "c": "stale"})  # b does not see what a planted
        self.assertEqual(self.source.read_text(), SOURCE)
        self.assertEqual((self.root / "build" / "faults" / "0" / "tree" / "src" / "numbers").read_text(), SOURCE)

    def test_copies_follow_the_working_tree(self):
        self.expect(0, fault("a", "one = 1", "one = 9"))
        self.source.write_text(SOURCE.replace("one = 1", "one = 1 # new"))
        self.expect(0, fault("a", "one = 1 # new", "one = 9"))
        (self.root / "src" / "other").write_text("x = 1\n")
        self.expect(1, fault("a", "x = 1", "x = 2").replace("src/numbers", "src/other"), says="a: survived")
        (self.root / "src" / "other").unlink()
        self.expect(1, fault("a", "x = 1", "x = 2").replace("src/numbers", "src/other"), says="a: stale")

    def test_faults_are_chosen_by_name_and_file(self):
        text = fault("first-one", "one = 1", "one = 9") + fault("second", "two = 2", "two = 9")
        self.expect(0, text, "--only", "^first", says="1 of 1")
        self.expect(1, text, "--only", "src/numbers", says="1 of 2")
        self.expect(2, text, "--only", "third", says="no fault has such a name")
        self.expect(0, text, "made", "--only", "first")
        self.expect(2, text, "other", says="there is no list other: there are made")

    def test_check_plants_nothing(self):
        self.expect(0, fault("a", "two = 2", "two = 9"), "--check", says="1 faults, 0 of them stale")
        said = self.expect(1, fault("a", "two = 2", "two = 9") + fault("b", "twice = 5", "x"), "--check", says="2 faults, 1 of them stale")
        self.assertIn("made.toml: b no longer applies: its text is not in src/numbers exactly once", said)
        self.assertEqual(self.calls.read_text(), "")
        self.assertFalse((self.root / "build").exists())

    def test_lists_that_make_no_sense_are_refused(self):
        good = fault("a", "one = 1", "one = 9")
        for text, says in (
            (good.replace("tests = ", "test = "), "lacks tests"),
            (good.replace("new = ", "#"), "lacks new"),
            (good + "colour = 'blue'\n", "there is no key colour"),
            (good + "build = 'abacus'\n", "build is one of portable, cpu, cuda, not abacus"),
            (good + good, "the name is taken"),
            (good + "[[fault", "made.toml"),
            ("", "no fault has such a name"),
        ):
            said = self.expect(2, text, says=says)
            self.assertIn("plant: ", said)
            self.expect(2, text, "--check", says=says)
        self.assertEqual(self.calls.read_text(), "")

    def test_defaults_of_a_list(self):
        text = '[defaults]\ntests = ["numbers suite.first"]\n' + fault("a", "one = 1", "one = 9").replace("tests = ", "#")
        self.expect(0, text, says="1 of 1")


if __name__ == "__main__":
    unittest.main()
