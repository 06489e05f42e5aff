#!/usr/bin/env python3
"""Plants small faults in pantile, one at a time, and says which of them no test notices.

A list is a TOML file beside this script, one a room. A fault is

    [[fault]]
    name = "splits-from-the-thread-count"        unique over all lists
    file = "cpu/src/api/prepare.cpp"
    old = 'the text that the fault replaces'     occurs once in the file; may have several lines
    new = 'what it becomes'
    tests = ["api determinism.*", "core"]        who must notice: test programs (pantile-test-api, …), each with a GoogleTest
                                                 filter or whole; "core/schedule_test" is the program of that one source,
                                                 which saves the others' compilation; "ctest REGEX" runs entries of ctest,
                                                 which is where scripts and whole programs are tested. Left out: the list's
                                                 [defaults]
    build = "cuda"                               in which build, if not in the list's default: see BUILDS below
    needs = "avx512"                             a flag of /proc/cpuinfo, or gpu: without it the fault cannot show itself here
    compiler = true                              a static_assert notices: it must not compile
    equivalent = "why no test can notice"        a fault that changes nothing a caller could see. It must survive

The faults are planted in copies of the tracked files, never in the working tree. What a fault touches is rebuilt, then its
tests run; if they notice nothing, everything else is built and all of ctest runs. Verdicts:

    noticed       a test that the fault names failed, crashed or hung, or the compiler refused what it must refuse
    elsewhere     only a test that it does not name did: noticed, but its entry should name that test
    survived      no test failed
    equivalent    survived, as its entry says it must
    stale         the text is not there exactly once, what it becomes does not compile, or a filter matches no test: the
                  entry must be renewed
    not here      this machine lacks what the fault needs

Exit status: 0 if at least 95 % of the faults that are not equivalent were noticed, none is stale and every equivalent one
survived; 1 if not; 2 if the call or a list makes no sense.
"""

import argparse
import collections
import concurrent.futures
import fcntl
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Optimised a little: what matters is how long a fault takes to compile and then to be noticed.
COMMON = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1", "-DPANTILE_DEVELOPER=ON"]
BUILDS = {
    # For the processor that nobody knows: one instance of the kernels instead of four.
    "portable": ["-DPANTILE_CUDA=OFF", f"-DCMAKE_TOOLCHAIN_FILE={HERE / 'portable.cmake'}"],
    "cpu": ["-DPANTILE_CUDA=OFF"],
    "cuda": ["-DPANTILE_CUDA=ON"],
}
KEYS = {"name", "file", "old", "new", "tests", "build", "needs", "compiler", "equivalent"}
HANGS_AFTER = 600  # seconds of one test program; unmutated, none takes a third of it
SHARE_TO_NOTICE = 0.95
NOT_IN_THE_SUITE = "install|scripts|boundaries|faults"  # they build or read the sources, and have tests of their own
BUILDS_NOTHING = "(scripts|faults)\\."  # entries of ctest that run scripts alone


running = set()  # process groups of compilers and tests


def stop(number, _frame):
    """Nothing outlives the planter."""
    for group in list(running):
        os.killpg(group, signal.SIGKILL)
    os._exit(128 + number)


def refuse(message):
    print(f"plant: {message}", file=sys.stderr)
    sys.exit(2)


def read_lists(paths):
    faults, names = [], set()
    for path in paths:
        try:
            content = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            refuse(f"{path}: {error}")
        defaults = content.get("defaults", {})
        for entry in content.get("fault", []):
            fault = {"build": "portable", **defaults, **entry, "list": path.stem}
            where = f"{path.name}, {entry.get('name', 'a fault without a name')}"
            if missing := {"name", "file", "old", "new", "tests"} - fault.keys():
                refuse(f"{where}: lacks {', '.join(sorted(missing))}")
            if unknown := fault.keys() - KEYS - {"list"}:
                refuse(f"{where}: there is no key {', '.join(sorted(unknown))}")
            if fault["build"] not in BUILDS:
                refuse(f"{where}: build is one of {', '.join(BUILDS)}, not {fault['build']}")
            if fault["name"] in names:
                refuse(f"{where}: the name is taken")
            names.add(fault["name"])
            faults.append(fault)
    return faults


def mutated(fault, root):
    """The file's text with the fault in it, or None if the entry no longer applies."""
    path = root / fault["file"]
    if not path.is_file():
        return None
    text = path.read_text()
    if text.count(fault["old"]) != 1 or fault["old"] == fault["new"]:
        return None
    return text.replace(fault["old"], fault["new"])


def host_has(need):
    if need == "gpu":
        return subprocess.run(["nvidia-smi"], capture_output=True, check=False).returncode == 0 if shutil.which("nvidia-smi") else False
    if need == "cuda":
        return shutil.which("nvcc") is not None
    try:
        flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and need in flags.group(1).split()


class NoSuchTest(Exception):
    """A filter that matches nothing: it would let every fault survive."""


class Copy:
    """A copy of the tracked files with builds of its own, in which one worker plants one fault after the other."""

    def __init__(self, folder, jobs):
        self.tree = folder / "tree"
        # Inside, as the presets' builds are: a compiler cache that knows these knows most of what is built here.
        self.builds = self.tree / "build"
        self.jobs = str(jobs)
        self.configured = set()
        self.environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "GTEST_COLOR": "no"}
        # Every fault meets the cases that the gate draws: a verdict is no matter of luck.
        self.environment.setdefault("RC_PARAMS", "seed=20261123")
        if shutil.which("ccache"):
            for language in ("CXX", "CUDA"):
                self.environment.setdefault(f"CMAKE_{language}_COMPILER_LAUNCHER", "ccache")
            self.environment.setdefault("CCACHE_NOHASHDIR", "1")
            self.environment.setdefault("CCACHE_BASEDIR", str(folder.parent))
        self.synchronise()

    def synchronise(self):
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
        wanted = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
        for name in wanted:
            source, target = ROOT / name, self.tree / name
            if not target.is_file() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                shutil.copymode(source, target)
        for path in self.tree.rglob("*"):
            if path.is_file() and self.builds not in path.parents and str(path.relative_to(self.tree)) not in wanted:
                path.unlink()

    def run(self, command, log, timeout=None):
        """The exit status, or 124 for a command that had to be stopped."""
        with open(log, "ab") as out:
            out.write(f"\n$ {' '.join(map(str, command))}\n".encode())
            out.flush()
            process = subprocess.Popen(command, cwd=self.tree, env=self.environment, stdout=out, stderr=out, start_new_session=True)
            running.add(process.pid)
            try:
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return 124
            finally:
                running.discard(process.pid)

    def configure(self, build, log):
        if build in self.configured:
            return True
        folder = self.builds / build
        if self.run(["cmake", "-S", self.tree, "-B", folder, *COMMON, *BUILDS[build]], log) != 0:
            return False
        self.configured.add(build)
        return True

    def compile(self, build, targets, log):
        return self.run(["cmake", "--build", self.builds / build, "-j", self.jobs, "--target", *targets], log) == 0

    def program(self, build, name):
        return next((self.builds / build).rglob(f"pantile-test-{name}"))

    def link_of_one(self, build, name):
        """How the program of one test source is linked: (what to build for it, the command, the program)."""
        folder = self.builds / build
        program, source = name.split("/")
        listed = subprocess.run(["ninja", "-C", folder, "-t", "commands", f"pantile-test-{program}"], check=True, capture_output=True, text=True)
        words = listed.stdout.splitlines()[-1].split("&&")[1].split()
        own = [word for word in words if f"/pantile-test-{program}.dir/" in word]
        wanted = [word for word in own if word.endswith(f"/{source}.cpp.o")]
        if len(wanted) != 1:
            refuse(f"pantile-test-{program} has no source {source}.cpp")
        linked = [word for word in words if word not in own or word in wanted]
        place = linked.index("-o") + 1
        linked[place] += f"-{source}"
        # What the tests share stays as it is: it need not be compiled again for a fault in the library.
        libraries = [word for word in linked if word.endswith(".a") and not word.startswith(("/", "tests/"))]
        return [*wanted, *libraries], linked, folder / linked[place]

    def prepare_one(self, build, name, log):
        """Builds what the tests share, before a fault is planted, where it is not built yet."""
        _, link, _ = self.link_of_one(build, name)
        missing = {word for word in link if word.endswith(".a") and word.startswith("tests/") and not (self.builds / build / word).exists()}
        if missing:
            self.run(["ninja", "-C", self.builds / build, "-j", self.jobs, *sorted(missing)], log)

    def compile_one(self, build, name, fault, log):
        """The program of one test source, or None."""
        folder = self.builds / build
        needed, link, program = self.link_of_one(build, name)
        if fault["file"].startswith("tests/"):
            needed += [word for word in link if word.endswith(".a") and word.startswith("tests/")]
        if self.run(["ninja", "-C", folder, "-j", self.jobs, *needed], log) != 0:
            return None
        return program if self.run(["sh", "-c", f"cd {folder} && {' '.join(link)}"], log) == 0 else None

    def ctest(self, build, arguments, log):
        command = ["ctest", "--test-dir", self.builds / build, "--no-tests=error", "--output-on-failure", "-j", self.jobs, *arguments]
        return self.run(command, log, timeout=6 * HANGS_AFTER)


def run_gtest(copy, program, name, test_filter, log):
    """(exit status, the tests that failed) of a GoogleTest program."""
    report = copy.builds / "report.json"
    report.unlink(missing_ok=True)
    arguments = [f"--gtest_filter={test_filter}"] if test_filter else []
    status = copy.run([program, *arguments, f"--gtest_output=json:{report}", "--gtest_brief=1"], log, HANGS_AFTER)
    failed = []
    if report.is_file():
        for suite in json.loads(report.read_text())["testsuites"]:
            for test in suite["testsuite"]:
                if test.get("failures"):
                    failed.append(f"{name} {suite['name']}.{test['name']}")
    ran = json.loads(report.read_text())["tests"] if report.is_file() else None
    if ran == 0:
        raise NoSuchTest(f"{name} has no test {test_filter}")
    return status, failed


def judge(copy, fault, options, log):
    """(verdict, who noticed)"""
    need = fault.get("needs")
    if fault["build"] == "cuda" and not host_has("cuda"):
        need = "cuda"
    if need and not host_has(need):
        return "not here", [f"needs {need}"]
    text = mutated(fault, copy.tree)
    if text is None:
        return "stale", ["the text is not there exactly once"]
    if not copy.configure(fault["build"], log):
        return "stale", ["cmake does not configure"]
    for entry in fault["tests"]:
        if "/" in entry.split()[0]:
            copy.prepare_one(fault["build"], entry.split()[0], log)
    path = copy.tree / fault["file"]
    original = path.read_bytes()
    does_not_compile = ("noticed", ["the compiler"]) if fault.get("compiler") else ("stale", ["it does not compile"])
    try:
        path.write_text(text)
        noticed = []
        for entry in fault["tests"]:
            name, test_filter, *_ = entry.split(maxsplit=1) + [""]
            if name == "ctest":
                if not re.match(BUILDS_NOTHING, test_filter) and not copy.compile(fault["build"], ["all"], log):
                    return does_not_compile
                status, failed = copy.ctest(fault["build"], ["-R", test_filter], log), []
            else:
                if "/" in name:
                    program = copy.compile_one(fault["build"], name, fault, log)
                else:
                    program = copy.compile(fault["build"], [f"pantile-test-{name}"], log) and copy.program(fault["build"], name)
                if not program:
                    return does_not_compile
                status, failed = run_gtest(copy, program, name, "" if options.whole else test_filter, log)
            if status != 0:
                noticed += failed or [f"{entry} ({'hung' if status == 124 else f'ended with {status}'})"]
                if not options.whole:
                    break
        if noticed:
            return "noticed", noticed
        unnoticed = ("equivalent", [fault["equivalent"]]) if "equivalent" in fault else ("survived", [])
        if options.named:
            return unnoticed
        if not copy.compile(fault["build"], ["all"], log):
            return does_not_compile
        if copy.ctest(fault["build"], ["--stop-on-failure", "-LE", NOT_IN_THE_SUITE], log) != 0:
            last = re.findall(r"^\s*\d+ - (\S+)", log.read_text(errors="replace"), re.MULTILINE)
            return "elsewhere", last[-1:] or ["ctest"]
        return unnoticed
    except NoSuchTest as error:
        return "stale", [str(error)]
    finally:
        path.write_bytes(original)  # with a new time: what was built from the fault is out of date


def plant_all(faults, options):
    work = options.work.resolve()
    copies = queue.Queue()
    for worker in range(options.workers):
        copies.put((worker, options.jobs))
    made = {}
    results = []

    def one(fault):
        worker, jobs = copies.get()
        try:
            if worker not in made:
                made[worker] = Copy(work / str(worker), jobs)
            log = work / f"{fault['name']}.log"
            log.unlink(missing_ok=True)
            start = time.monotonic()
            verdict, who = judge(made[worker], fault, options, log)
            return {"name": fault["name"], "list": fault["list"], "verdict": verdict, "by": who,
                    "seconds": round(time.monotonic() - start, 1), "expected_equivalent": "equivalent" in fault}
        finally:
            copies.put((worker, jobs))

    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        for result in pool.map(one, faults):
            results.append(result)
            print(f"{result['verdict']:10}  {result['name']:52} {result['seconds']:6.0f} s  {result['by'][0] if result['by'] else ''}", flush=True)
            (work / "results.json").write_text(json.dumps(results, indent=1))
    return results


def print_who_noticed(results):
    """The tests that noticed a fault, by how many: what is missing here was needed by none of those planted."""
    count = collections.Counter(test for result in results if result["verdict"] == "noticed" for test in result["by"])
    alone = collections.Counter(result["by"][0] for result in results if result["verdict"] == "noticed" and len(result["by"]) == 1)
    print("\nfaults  alone  test")
    for test, times in sorted(count.items()):
        print(f"{times:6}  {alone[test]:5}  {test}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="*", help="core, cpu, …: files beside this script without their ending; all by default")
    parser.add_argument("--only", metavar="REGEX", default="", help="faults whose name or file matches")
    parser.add_argument("--check", action="store_true", help="plant nothing: say which entries no longer apply")
    parser.add_argument("--named", action="store_true", help="run no other tests than those that a fault names")
    parser.add_argument("--whole", action="store_true", help="run the named programs to their end, without their filters, and print how many faults each test noticed")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "faults", help="folder for copies, builds and logs (build/faults)")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="faults at a time, each in a copy of its own (half the cores)")
    parser.add_argument("--jobs", type=int, default=2, help="compilers and tests at a time in each copy (2)")
    options = parser.parse_args()

    available = {path.stem: path for path in sorted(HERE.glob("*.toml"))}
    for name in options.lists:
        if name not in available:
            refuse(f"there is no list {name}: there are {', '.join(available)}")
    faults = [fault for fault in read_lists([available[name] for name in options.lists or available])
              if re.search(options.only, fault["name"]) or re.search(options.only, fault["file"])]
    if not faults:
        refuse("no fault has such a name")

    if options.check:
        stale = [fault for fault in faults if mutated(fault, ROOT) is None]
        for fault in stale:
            print(f"{fault['list']}.toml: {fault['name']} no longer applies: its text is not in {fault['file']} exactly once")
        print(f"{len(faults)} faults, {len(stale)} of them stale")
        sys.exit(1 if stale else 0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    options.work.mkdir(parents=True, exist_ok=True)
    with open(options.work / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"another planter works in {options.work}: wait for it, or name another folder with --work")
        run(faults, options)


def run(faults, options):
    results = plant_all(faults, options)
    if options.whole:
        print_who_noticed(results)
    verdicts = collections.Counter(result["verdict"] for result in results)
    wrong = [result for result in results if result["expected_equivalent"] and result["verdict"] in ("noticed", "elsewhere")]
    judged = [result for result in results if result["verdict"] in ("noticed", "elsewhere", "survived") and not result["expected_equivalent"]]
    noticed = sum(result["verdict"] != "survived" for result in judged)
    print("\n" + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    for result in wrong:
        print(f"ERROR: {result['name']} is listed as equivalent, but {result['by'][0]} notices it")
    for result in results:
        if result["verdict"] == "stale" or (result["verdict"] == "survived" and not result["expected_equivalent"]):
            print(f"ERROR: {result['name']}: {result['verdict']} {result['by'][0] if result['by'] else ''}")
    share = noticed / len(judged) if judged else 1.0
    print(f"{noticed} of {len(judged)} faults noticed ({100 * share:.1f} %)")
    sys.exit(0 if share >= SHARE_TO_NOTICE and verdicts["stale"] == 0 and not wrong else 1)


if __name__ == "__main__":
    main()
