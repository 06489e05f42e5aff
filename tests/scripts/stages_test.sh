#!/usr/bin/env bash
# The parts that the scripts share. usage: stages_test.sh REPOSITORY
# shellcheck disable=SC2016 # stand-ins expand when they run
# shellcheck source=tests/scripts/machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

# with_stages TEXT...: a script that has sourced them.
with_stages() { on_machine bash -c "set -uo pipefail; work=$home/logs preset=cpu; source .ci/stages.sh; $1"; }

with_stages 'stage good true; stage bad bash -c "echo x.cpp:1: error: no; false"; not_run third no tool; print_summary; exit $failed'
expect_code 1
expect '^good +passed +[0-9]+ s$'
expect '^bad +FAILED'
expect '^x.cpp:1: error: no$'
expect '^third +not run: no tool'

# A stage fails if its command does, wherever it stands; the ones after it run, and what it said is in the summary.
with_stages 'stage first false; stage second bash -c "echo ran; exit 3"; stage third true; print_summary; exit $failed'
expect_code 1
expect '^first +FAILED'
expect '^ran$'
expect '^second +FAILED'
expect '^third +passed'
with_stages 'stage a true; not_run b no reason; exit $failed'
expect_code 0
with_stages 'stage a true; printf "%s\n" "${table[@]}"'
expect '^a\|passed\|0$'
for line in 'FAILED: x.o' '1 - api.x ***Failed' 'x_test.cpp:3: Failure' 'Falsifiable after 3 tests' 'ERROR: no' 'runtime error: shift' 'WRONG 3'; do
  with_stages "stage a bash -c 'echo \"$line\"; false' >/dev/null; print_summary"
  expect "^${line//\*/\\*}\$"
done

program tests/sharded "$googletest"
with_stages 'run_sharded 3 2 tests/sharded env RC_PARAMS=x'
expect_code 0
expect 'sharded: 4 tests ran, 0 of them skipped'
expect_calls 4 'rc=x '
with_stages 'run_sharded 9 4 tests/sharded' # more shards than tests
expect_code 0
expect_calls 4 .
with_stages 'FAIL_IN_SHARD=2; export FAIL_IN_SHARD; run_sharded 3 1 tests/sharded'
expect_code 1
expect 'shard 2 of 3 of sharded ended with 1'
with_stages 'FAIL_IN_SHARD=0; export FAIL_IN_SHARD; run_sharded 3 3 tests/sharded' # the first, too
expect_code 1
program tests/crashing 'echo "[==========] 3 tests from 1 test suite ran. (3 ms total)"; kill -SEGV $$'
with_stages 'run_sharded 1 1 tests/crashing'
expect_code 1
expect 'shard 0 of 1 of crashing ended with 139'
program tests/skipping 'echo "[  SKIPPED ] a.b (0 ms)"; echo "[==========] 5 tests from 1 test suite ran. (3 ms total)"'
with_stages 'run_sharded 2 2 tests/skipping'
expect_code 0
expect 'skipping: 10 tests ran, 2 of them skipped'
program tests/blind 'echo "this machine has none"; echo "[==========] 5 tests from 1 test suite ran. (3 ms total)"'
with_stages 'run_sharded 2 2 tests/blind'
expect_code 1
expect 'the tests see no GPU'
# Never more at once than was asked for.
program tests/counting 'mkdir "$HOME/at_once.$GTEST_SHARD_INDEX"; ls -d "$HOME"/at_once.* | wc -l >>"$CALLS"; sleep 0.2
rmdir "$HOME/at_once.$GTEST_SHARD_INDEX"; echo "[==========] 1 test from 1 test suite ran. (3 ms total)"'
with_stages "HOME=$home; export HOME; run_sharded 5 2 tests/counting"
expect_code 0
expect 'counting: 5 tests ran'
expect_calls 0 '^[3-9]$'
program tests/empty 'echo "[==========] 0 tests from 0 test suites ran. (0 ms total)"'
with_stages 'run_sharded 2 2 tests/empty'
expect_code 1
expect 'no test ran'
with_stages 'run_sharded 2 2 tests/missing'
expect_code 1

with_stages 'check_conformance echo "0 passed, 0 failed, 9 unsupported"'
expect_code 1
with_stages 'check_conformance echo "10 passed, 0 failed, 9 unsupported"'
expect_code 0
expect '^10 passed, 0 failed, 9 unsupported$'
with_stages 'check_conformance true' # says nothing
expect_code 1
expect 'no case passed'
with_stages 'check_conformance echo "unsupported 5 passed, or so"'
expect_code 1
program tests/runner 'echo "conformance $*" >>"$CALLS"; echo "FAILED a: O"; echo "10 passed, 1 failed, 0 unsupported"; exit 1'
with_stages 'check_conformance tests/runner folder --dtype f16'
expect_code 1
expect '^FAILED a: O$'
expect_calls 1 '^conformance folder --dtype f16$'

# Folders of cases: those that are named, if they are there.
mkdir -p "$home/one" "$home/two"
with_stages 'PANTILE_CONFORMANCE_DIR="one two three" conformance_folders | paste -sd,'
expect '^one,two$'

# The checks of sources: every source of the library that the build compiles, and what the tools object to.
tool git 'if [[ "$*" == *core/* ]]; then printf "core/a.cpp\ncpu/b.cpp\nexamples/c.cpp\n"; else printf "a.hpp\nb.cu\n"; fi; echo "git $*" >>"$CALLS"'
tool clang-format 'echo "format $*" >>"$CALLS"; [[ -z ${UGLY:-} ]]'
tool clang-tidy 'echo "tidy $*" >>"$CALLS"; [[ "$*" != *"${BAD:-nothing}"* ]]'
mkdir -p "$home/build/cpu"
echo '"file": "/x/core/a.cpp", "file": "/x/cpu/b.cpp"' >"$home/build/cpu/compile_commands.json"
with_stages check_format
expect_code 0
expect_calls 1 '^format --dry-run -Werror a.hpp b.cu$'
expect_calls 1 '^git ls-files -- \*.h \*.c \*.hpp \*.cpp \*.cu \*.cuh$'
with_stages 'UGLY=yes; export UGLY; check_format'
expect_code 123
with_stages check_lint
expect_code 0
expect_calls 2 '^tidy -p build/cpu .*(core/a|cpu/b).cpp$'
expect_calls 0 'examples/c.cpp$'
for source in core/a cpu/b; do
  with_stages "BAD=$source; export BAD; check_lint"
  expect_code 123
done

# A build for a sanitizer that fails is a failure, and nothing is tested with what was there.
tool cmake 'echo "cmake $*" >>"$CALLS"; [[ "$*" != *"${BROKEN:-nothing}"* ]]'
tool ctest 'echo "ctest $* isa=${PANTILE_ISA:-}" >>"$CALLS"; exit "${CTEST:-0}"'
with_stages 'check_sanitized tsan'
expect_code 0
expect_calls 1 '^cmake --preset tsan$'
expect_calls 1 '^cmake --build --preset tsan$'
expect_calls 1 '^ctest --preset tsan -j [0-9]+ -LE boundaries\|install\|scripts\|faults\|must_not_compile isa=$'
with_stages 'check_sanitized asan simulator'
expect_calls 1 'must_not_compile\|simulator isa=$'
for broken in '--preset' '--build'; do
  with_stages "BROKEN=$broken; export BROKEN; check_sanitized asan"
  expect_code 1
  expect_calls 0 ctest
done
with_stages 'CTEST=8; export CTEST; check_sanitized asan'
expect_code 8
with_stages 'CTEST=8; export CTEST; check_instruction_set avx2'
expect_code 8
expect_calls 1 '^ctest --preset cpu .*isa=avx2$'

echo 'flags : sse2' >"$home/old"
echo 'flags : fma avx2 avx512bw avx512_bf16 amx_tile' >"$home/no_amx"
echo 'flags : avx2 avx512' >"$home/no_fma"
echo 'flags : fma avx2 avx512bw avx512_bf16 amx_bf16' >"$home/all"
with_stages "PANTILE_CPUINFO=$home/no_fma; instruction_sets | paste -sd,"
expect '^baseline$'
with_stages "PANTILE_CPUINFO=$home/all; instruction_sets | paste -sd,"
expect '^baseline,avx2,avx512,amx$'
with_stages "PANTILE_CPUINFO=$home/old; instruction_sets | paste -sd,"
expect '^baseline$'
with_stages "PANTILE_CPUINFO=$home/no_amx; instruction_sets | paste -sd,"
expect '^baseline,avx2,avx512$'

exit $((faults > 0))
