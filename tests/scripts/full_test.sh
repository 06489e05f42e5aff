#!/usr/bin/env bash
# ./run full: its stages, on a processor with and without AMX. usage: full_test.sh REPOSITORY
# shellcheck disable=SC2016 # stand-ins expand when they run
# shellcheck source=tests/scripts/machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

for name in cpu cuda; do # whichever preset this machine has
  for test in api/pantile-test-api cpu/pantile-test-cpu cpu/pantile-test-cpu-amx; do
    program "build/$name/tests/$test" "$googletest"
  done
  program "build/$name/bin/pantile-conformance" 'echo "conformance $*" >>"$CALLS"; echo "3 passed, 0 failed, 0 unsupported"'
  echo '[]' >"$home/build/$name/compile_commands.json"
done
for name in core support simulator; do # the CUDA room's are missing, as they are without nvcc
  for preset in cpu cuda; do program "build/$preset/tests/$name/pantile-test-$name" "$googletest"; done
done
tool python3 'echo "python3 $*" >>"$CALLS"; [[ ${FAIL:-none} != faults || $1 != tests/* ]] || { echo "ERROR: x: survived"; exit 1; }'
for name in npy_file case_file machine_file public_page; do
  program "build/fuzz/tests/fuzz/pantile-fuzz-$name" 'echo "${0##*/} $*" >>"$CALLS"
[[ ${FAIL:-none} != "${0##*-}" ]] || { echo "FOUND: an element lies elsewhere"; exit 77; }'
done
tool nproc 'echo 2'
tool dpkg-query 'echo installed'
tool cmake 'echo "cmake $*" >>"$CALLS"'
tool ctest 'echo "ctest $* isa=${PANTILE_ISA:-}" >>"$CALLS"; echo "100% tests passed, 0 tests failed out of 7"
[[ ${FAIL:-none} != "${PANTILE_ISA:-}" ]] || { echo "1 - a (Failed)"; exit 8; }'
tool git 'true'
tool clang-format 'true'
tool clang-tidy 'true'
echo 'flags : fma avx2 avx512f avx512bw avx512_bf16 amx_bf16 amx_tile' >"$home/with_amx"
echo 'flags : fma avx2' >"$home/without"

on_machine env PANTILE_CPUINFO="$home/with_amx" PANTILE_CASES=50 ./run full
expect_code 0
for isa in baseline avx2 avx512 amx; do
  expect_calls 1 "ctest .*isa=$isa\$"
  expect_calls 4 "pantile-test-api .*isa=$isa rc=max_success=50 "
  expect "^test with PANTILE_ISA=$isa +passed"
done
expect_calls 1 'ctest --preset asan'
expect_calls 1 'ctest --preset tsan'
for name in core support simulator; do expect_calls 4 "pantile-test-$name test=. isa= rc=max_success=50 "; done
expect '^50 cases, the rest +passed'
expect_calls 1 'python3 tests/faults/plant.py --work build/full/faults$'
expect '^planted faults +passed'
expect_calls 1 'cmake --build --preset fuzz$'
for name in npy_file case_file machine_file public_page; do
  expect_calls 1 "pantile-fuzz-$name -max_total_time=600 .* build/fuzz/corpus/$name tests/fuzz/corpus/$name\$"
  expect "^fuzz $name, 600 s +passed"
done
for type in f64 f32 f16 bf16; do expect_calls 1 "conformance tests/data --dtype $type\$"; done
expect '^format +passed'
expect '^lint +passed'

on_machine env PANTILE_CPUINFO="$home/without" RC_PARAMS=seed=7 FAIL=avx2 ./run full
expect_code 1
expect_calls 0 'isa=(avx512|amx)'
expect_calls 4 'pantile-test-cpu-amx .*isa=baseline rc=seed=7 max_success=20000 '
expect '^test with PANTILE_ISA=avx2 +FAILED'
expect '^test with PANTILE_ISA=baseline +passed'

for cases in many 0 -3 1.5; do
  on_machine env PANTILE_CASES=$cases ./run full
  expect_code 2
  expect "PANTILE_CASES is '$cases'"
done

# Each stage can fail the whole: the build, the format, the lint, a sanitizer, a shard, a conformance case.
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CASES=50 FAIL_IN_SHARD=1 ./run full
expect_code 1
expect '^50 cases, avx2 +FAILED'
expect '^test with PANTILE_ISA=avx2 +passed'
tool clang-format 'exit 1'
tool git 'echo a.hpp'
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CASES=50 ./run full
expect_code 1
expect '^format +FAILED'
expect '^sanitizers: tsan +passed'
on_machine env PANTILE_CPUINFO="$home/without" .ci/run
expect_code 1
expect '^format +FAILED'
tool clang-format 'true'
tool git 'true'
for name in cpu cuda; do
  program "build/$name/bin/pantile-conformance" 'echo "3 passed, 1 failed, 0 unsupported"; [[ "$*" != *f16 ]]'
done
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CASES=50 ./run full
expect_code 1
expect '^conformance: data, f16 +FAILED'
expect '^conformance: data, f32 +passed'
mkdir -p "$home/mine/onnx_attention"
program_says='echo "0 passed, 0 failed, 4 unsupported"'
for name in cpu cuda; do program "build/$name/bin/pantile-conformance" "$program_says"; done
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CONFORMANCE_DIR=mine/onnx_attention .ci/run
expect_code 1
expect '^conformance: onnx_attention +FAILED'
for name in cpu cuda; do program "build/$name/bin/pantile-conformance" 'echo "conformance $*" >>"$CALLS"; echo "4 passed, 0 failed, 0 unsupported"'; done

# A fuzzer that finds something, in less time; the others run all the same.
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CASES=1 PANTILE_FUZZ_SECONDS=7 FAIL=npy_file ./run full
expect_code 1
expect_calls 4 'pantile-fuzz-.* -max_total_time=7 '
expect_calls 2 'pantile-fuzz-(case|machine)_file .*-dict=tests/fuzz/json.dict '
expect '^fuzz npy_file, 7 s +FAILED'
expect '^fuzz case_file, 7 s +passed'
[[ $(grep -c 'an element lies elsewhere' <<<"$text") == 2 ]] || fault 'the summary does not say what a fuzzer found'
on_machine env PANTILE_FUZZ_SECONDS=0 ./run full
expect_code 2

# A fault that no test notices; a machine without Python, where none is planted.
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CASES=1 FAIL=faults ./run full
expect_code 1
expect '^planted faults +FAILED'
expect 'ERROR: x: survived'
tool python3 'exit 1'
on_machine env PANTILE_CPUINFO="$home/without" PANTILE_CASES=1 ./run full
expect_code 0
expect '^planted faults +not run: python3 is missing'

# The gate, on the same processors: ctest's closing lines are there, and AMX has its stage.
on_machine env PANTILE_CPUINFO="$home/with_amx" .ci/run
expect_code 0
expect '100% tests passed, 0 tests failed out of 7'
expect_calls 1 'ctest .*isa=amx$'
expect '^test with PANTILE_ISA=amx +passed'
expect_calls 0 'pantile-test-api'
expect_calls 1 'ctest --preset asan .*isa=$'
expect_calls 0 'fuzz'
on_machine env PANTILE_CPUINFO="$home/without" FAIL=baseline .ci/run
expect_code 1
expect '^test with PANTILE_ISA=baseline +FAILED'
expect_calls 0 'isa=(avx512|amx)$'

exit $((faults > 0))
