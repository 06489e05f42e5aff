#!/usr/bin/env bash
# ./run gpu: stages, shards, what is missing, what fails. usage: gpu_test.sh REPOSITORY
# shellcheck disable=SC2016 # stand-ins expand when they run
# shellcheck source=tests/scripts/machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

build_in() { # FOLDER: what a build of the CUDA preset leaves there
  local name
  for name in layout host device forward; do program "$1/tests/cuda/pantile-test-cuda_$name" "$googletest"; done
  program "$1/bin/pantile-conformance" 'echo "conformance $*" >>"$CALLS"; echo "${PASSED:-12} passed, 0 failed, 1 unsupported"'
  touch "$home/$1/libpantile_bench_cuda.so"
}
tool nproc 'echo 4'
tool dpkg-query 'echo "$*" >>"$CALLS"; echo installed'
tool apt-get 'echo "apt-get $*" >>"$CALLS"; exit 1'
tool cmake 'echo "cmake $*" >>"$CALLS"'
tool nvcc 'true'

# No GPU: said at once, before anything is built.
tool nvidia-smi 'echo "NVIDIA-SMI has failed because it could not communicate with the driver"; exit 9'
on_machine ./run gpu
expect_code 2
expect 'there is no GPU here: .*could not communicate'
expect_calls 0 .

tool nvidia-smi 'echo "NVIDIA H200, 580.10, 9.0"'
tool python3 'case $* in
  *torch*) [[ -n ${TORCH:-} ]] || { echo "ModuleNotFoundError: No module named torch"; exit 1; } ;;
  *) echo "bench $*" >>"$CALLS"; echo "d 64 S 512 full 1.15 ${WRONG:-}" ;;
esac'
tool compute-sanitizer 'echo "sanitizer $2" >>"$CALLS"; shift 4; exec "$@"'

# A carried build: nothing is installed or configured; every stage runs, and each test once a seed.
build_in elsewhere
on_machine env PANTILE_BUILD_DIR=elsewhere TORCH=yes RC_PARAMS=max_success=2000 ./run gpu --no-build --seeds 4 --shards 3
expect_code 0
expect_calls 0 'cmake|apt-get|Status'
expect_calls 16 'cuda_forward test=. .*rc=max_success=2000 seed=[1-4] filter=$'
expect_calls 1 'cuda_host test=3 .*seed=2 '
expect_calls 6 'sanitizer memcheck' # one a shard, for each of two programs
expect '^\| GPU .* \| NVIDIA H200, 580.10, 9.0 \|$'
expect '^\| tests, seed 3 \| passed \| [0-9]+ \|$'
expect_calls 4 'conformance tests/data --backend cuda --dtype (f64|f32|f16|bf16)'
expect_calls 5 'bench .*--grid (hopper|portable|decode|fp32|fp64)'
expect 'd 64 S 512 full 1.15'
[[ -f $home/build/gpu/summary.md ]] || fault "no page"

# The default folder and one seed, of RC_PARAMS' choice.
build_in build/cuda
on_machine ./run gpu --no-build --stages tests
expect_code 0
expect_calls 4 'cuda_forward test=. .*rc= filter=$'
expect_calls 0 'sanitizer|conformance|bench'

# Built here: by ./run build, which installs what is missing.
on_machine ./run gpu --stages tests
expect_code 0
expect_calls 1 'cmake --preset cuda'

# What fails is named, also on the page, and ends in 1.
on_machine env FAIL_IN_SHARD=1 ./run gpu --no-build --stages tests,conformance
expect_code 1
expect '^\| tests \| FAILED \|'
expect '^\| conformance: data, f16 \| passed \|'
expect '^## What failed'
expect 'x_test.cpp:3: Failure'
on_machine env PASSED=0 ./run gpu --no-build --stages conformance
expect_code 1
on_machine env NO_DEVICE=1 ./run gpu --no-build --stages tests
expect_code 1
expect 'the tests see no GPU'
on_machine env TORCH=yes WRONG=WRONG ./run gpu --no-build --stages bench --grids fp32
expect_code 1
expect_calls 1 'bench'

# What is missing is named, and is no failure.
on_machine ./run gpu --no-build --stages bench
expect_code 0
expect '^\| bench: decode \| not run: PyTorch is missing: ModuleNotFoundError'
rm "$home/bin/compute-sanitizer"
if ! command -v compute-sanitizer >/dev/null && [[ ! -x /usr/local/cuda/bin/compute-sanitizer ]]; then
  on_machine ./run gpu --no-build --stages sanitizer
  expect_code 0
  expect '^\| memcheck \| not run: compute-sanitizer is missing'
fi
on_machine env PANTILE_BUILD_DIR=nowhere ./run gpu --no-build
expect_code 1
expect 'there is no build in nowhere'
rm "$home/build/cuda/tests/cuda/pantile-test-cuda_device"
on_machine ./run gpu --no-build --stages tests
expect_code 1
expect 'there is no program .*cuda_device'

# Calls that make no sense.
for words in --shards "--shards none" "--stages tests,coffee" --fast "--grids fp8"; do
  # shellcheck disable=SC2086
  on_machine ./run gpu $words
  expect_code 2
  expect 'usage: ./run gpu'
done
on_machine env PANTILE_BUILD_DIR=elsewhere ./run gpu
expect_code 2
on_machine ./run gpu --help
expect_code 0

exit $((faults > 0))
