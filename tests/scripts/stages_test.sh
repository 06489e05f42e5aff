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

echo 'flags : sse2' >"$home/old"
echo 'flags : fma avx2 avx512bw avx512_bf16 amx_tile' >"$home/no_amx"
with_stages "PANTILE_CPUINFO=$home/old; instruction_sets | paste -sd,"
expect '^baseline$'
with_stages "PANTILE_CPUINFO=$home/no_amx; instruction_sets | paste -sd,"
expect '^baseline,avx2,avx512$'

exit $((faults > 0))
