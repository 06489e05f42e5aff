#!/usr/bin/env bash
# ./run: what its commands start, with which preset and arguments, and what it ends with. usage: run_test.sh REPOSITORY
# shellcheck disable=SC2016 # stand-ins expand when they run
# shellcheck source=tests/scripts/machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

tool nproc 'echo 3'
tool dpkg-query '[[ ${*: -1} != "${MISSING:-}" ]] || exit 1; echo installed'
tool apt-get 'echo "apt-get $*" >>"$CALLS"; exit "${APT:-0}"'
tool sudo 'echo "sudo" >>"$CALLS"; exec "$@"'
tool cmake 'echo "cmake $*" >>"$CALLS"; echo "-- pantile: for this machine"; [[ "$*" != "${BROKEN:-nothing}"* ]]'
tool ctest 'echo "ctest $*" >>"$CALLS"; exit "${CTEST:-0}"'
tool nvcc 'true'
for preset in cuda mine release; do
  for name in examples/quickstart bench/pantile-cpu-bench simulator/pantile-sim bin/pantile-conformance; do
    program "build/$preset/$name" 'echo "${0#*build/} $*" >>"$CALLS"; exit "${ENDS:-0}"'
  done
done

on_machine ./run test -R window
expect_code 0
expect '^pantile: for this machine$'
expect_calls 1 '^cmake --preset cuda$'
expect_calls 1 '^cmake --build --preset cuda$'
expect_calls 1 '^ctest --preset cuda -j 3 -R window$'
on_machine env CTEST=8 ./run test
expect_code 8
for broken in '--preset' '--build'; do # nothing is tested with an old build
  on_machine env BROKEN=$broken ./run test
  ((code != 0)) || fault "a build that failed, and exit status 0"
  expect_calls 0 '^ctest'
done

export PANTILE_PRESET=mine
on_machine ./run conformance tests/data --dtype f32
expect_code 0
expect_calls 1 '^cmake --build --preset mine --target pantile-conformance$'
expect_calls 1 '^mine/bin/pantile-conformance tests/data --dtype f32$'
on_machine env ENDS=1 ./run conformance tests/data
expect_code 1
on_machine ./run sim plan -n 4
expect_calls 1 '^mine/simulator/pantile-sim plan -n 4$'
on_machine ./run demo
expect_calls 1 '^mine/examples/quickstart $'
on_machine ./run bench --x
expect_calls 1 '^release/bench/pantile-cpu-bench --x$'
on_machine ./run build
expect_code 0
expect_calls 1 '^cmake --build --preset mine$'
on_machine env BROKEN=--build ./run build
((code != 0)) || fault "a build that failed, and exit status 0"
unset PANTILE_PRESET

# Packages: only what is missing is installed, and a failure is one line to type.
on_machine ./run packages
expect_code 0
expect_calls 0 'apt-get'
on_machine env MISSING=ninja-build ./run packages clang
expect_code 0
expect_calls 1 '^apt-get install .* ninja-build$'
on_machine env MISSING=clang ./run packages clang
expect_calls 1 '^apt-get install .* clang$'
on_machine env MISSING=cmake APT=100 ./run test
expect_code 1
expect '^  cmake$'
expect_calls 0 '^(cmake|ctest)'

on_machine ./run
expect_code 0
expect '^usage: ./run COMMAND'
on_machine ./run --help
expect_code 0
on_machine ./run tset
expect_code 2
expect 'there is no command "tset"'

exit $((faults > 0))
