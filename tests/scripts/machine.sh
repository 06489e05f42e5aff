# Sourced by the tests of this folder: a made-up machine in a folder of its own. "$1" is the repository.
# shellcheck shell=bash disable=SC2016,SC2034
set -uo pipefail

unset RC_PARAMS PANTILE_ISA PANTILE_PRESET PANTILE_CASES PANTILE_FUZZ_SECONDS PANTILE_CONFORMANCE_DIR PANTILE_BUILD_DIR PANTILE_REPORT_DIR
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
cp -r "$1/run" "$1/.ci" "$home"
mkdir -p "$home/bin" "$home/tests/data" "$home/bench"
faults=0

# tool NAME TEXT: a program on the made-up machine's PATH.
tool() {
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$home/bin/$1"
  chmod +x "$home/bin/$1"
}

# program PATH TEXT: one in a build folder.
program() {
  mkdir -p "$(dirname "$home/$1")"
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$home/$1"
  chmod +x "$home/$1"
}

# A GoogleTest program of four tests, each a line in calls: which shard ran it, and with what. FAIL_IN_SHARD: one fails.
googletest='
if [[ ${1:-} == --gtest_list_tests ]]; then printf "suite.\n  a\n  b\n  c\n  d\n"; exit; fi
total=${GTEST_TOTAL_SHARDS:-1} index=${GTEST_SHARD_INDEX:-0} ran=0
for ((n = index; n < 4; n += total)); do
  echo "${0##*/} test=$n isa=${PANTILE_ISA:-} rc=${RC_PARAMS:-} filter=${GTEST_FILTER:-}" >>"$CALLS"
  ran=$((ran + 1))
done
[[ -z ${NO_DEVICE:-} ]] || echo "needs a GPU of compute capability 8 or later; this machine has none"
echo "[==========] $ran tests from 1 test suite ran. (3 ms total)"
if [[ ${FAIL_IN_SHARD:-none} == "$index" ]]; then echo "x_test.cpp:3: Failure"; exit 1; fi'

# on_machine COMMAND...: with the made-up tools first; output in `text`, exit status in `code`, calls of programs in `calls`.
on_machine() {
  : >"$home/calls"
  text=$(cd "$home" && CALLS=$home/calls PATH=$home/bin:$PATH "$@" 2>&1)
  code=$?
  calls=$(<"$home/calls")
}

expect_code() { [[ $code == "$1" ]] || fault "exit status $code, not $1"; }
expect() { grep -qE -- "$1" <<<"$text" || fault "no line like: $1"; }
expect_no() { ! grep -qE -- "$1" <<<"$text" || fault "a line like: $1"; }
expect_calls() { # COUNT PATTERN
  local count
  count=$(grep -cE -- "$2" <<<"$calls")
  ((count == $1)) || fault "$count calls like $2, not $1: $calls"
}
fault() {
  printf '%s:%s: %s\n%s\n\n' "${BASH_SOURCE[2]##*/}" "${BASH_LINENO[1]}" "$1" "$text"
  faults=$((faults + 1))
}
