# Sourced by .ci/run, .ci/full and .ci/gpu: stages that all run even if an earlier one failed, a summary of them, and the
# checks that more than one of the scripts makes. A script sets `work` (a folder for logs) and `preset` before it uses them.
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the scripts

summary=() # lines for people: a stage, its verdict, its seconds, and what failed in it
table=()   # "name|verdict|seconds", for pages
failed=0

# stage NAME COMMAND...
stage() {
  local name=$1 start=$SECONDS verdict=passed
  shift
  printf '\n==== %s\n' "$name"
  mkdir -p "$work"
  "$@" 2>&1 | tee "$work/stage.log" || { verdict=FAILED failed=1; }
  record "$name" "$verdict" $((SECONDS - start))
  [[ $verdict == passed ]] || name_failures
}

# not_run NAME WHY...: a stage that this machine cannot run; no failure, but said.
not_run() {
  printf '\n==== %s\nnot run: %s\n' "$1" "${*:2}"
  record "$1" "not run: ${*:2}" 0
}

record() {
  summary+=("$(printf '%-28s %s  %4d s' "$1" "$2" "$3")")
  table+=("$1|$2|$3")
}

# What failed, and how: the summary is often all that one sees of a run.
name_failures() {
  summary+=("$(grep -E -A 12 '^FAILED: |error: |\*\*\*(Failed|Timeout|Exception)|Failure$|Falsifiable|ERROR: |runtime error|^WRONG|^FOUND' \
    "$work/stage.log" | cut -c 1-200 | head -n 80)")
}

print_summary() {
  printf '\n==== summary\n'
  printf '%s\n' "${summary[@]}"
}

sources() { git ls-files -- "$@"; }

check_format() {
  sources '*.h' '*.c' '*.hpp' '*.cpp' '*.cu' '*.cuh' | xargs -r clang-format --dry-run -Werror
}

# Sources of the library and its programs; the tests have the compilers' warnings and the sanitizers.
check_lint() {
  sources 'core/*.cpp' 'cpu/*.cpp' 'simulator/*.cpp' 'examples/*.cpp' |
    while read -r file; do
      if grep -q "/$file\"" "build/$preset/compile_commands.json"; then echo "$file"; fi
    done |
    xargs -r -P "$(nproc)" -n 1 clang-tidy -p "build/$preset" --quiet --extra-arg=-Wno-unknown-warning-option \
      --extra-arg=-Wno-ignored-optimization-argument 2> >(grep -v 'warnings.* generated' >&2)
}

# check_sanitized PRESET [LABELS]: all tests that run the library's code, but for those with LABELS.
check_sanitized() {
  cmake --preset "$1" >/dev/null && cmake --build --preset "$1" &&
    ctest --preset "$1" -j "$(nproc)" -LE "boundaries|install|scripts|faults|must_not_compile${2:+|$2}"
}

# The names that PANTILE_ISA may have on this processor, the narrowest first. PANTILE_CPUINFO: another /proc/cpuinfo, for tests.
instruction_sets() {
  local cpuinfo=${PANTILE_CPUINFO:-/proc/cpuinfo}
  has() { grep -qw "$1" "$cpuinfo"; }
  echo baseline
  if has avx2 && has fma; then echo avx2; fi
  if has avx512bw; then echo avx512; fi
  if has avx512bw && has amx_bf16 && has avx512_bf16; then echo amx; fi
}

check_instruction_set() {
  PANTILE_ISA=$1 ctest --preset "$preset" -j "$(nproc)" -LE 'core|cuda|simulator|boundaries|install|scripts|faults|must_not_compile'
}

# Folders of conformance cases that live outside the repository: named by PANTILE_CONFORMANCE_DIR, or found beside it.
conformance_folders() {
  local cases
  for cases in ${PANTILE_CONFORMANCE_DIR:-../*/onnx_attention}; do
    if [[ -d $cases ]]; then echo "$cases"; fi
  done
}

# check_conformance RUNNER FOLDER [ARGUMENTS...]: none may fail, and some must pass: a runner without the machine that was
# asked for calls every case unsupported.
check_conformance() {
  local output status=0
  output=$("$@") || status=$?
  printf '%s\n' "$output"
  if ((status == 0)) && ! grep -qE '^[1-9][0-9]* passed' <<<"$output"; then
    echo "ERROR: no case passed"
    status=1
  fi
  return "$status"
}

# run_sharded SHARDS AT_ONCE PROGRAM [COMMAND...]: a GoogleTest program (run by the command, if there is one: env, a checker) in so
# many shares of its tests, some processes at once. Prints what failed and how many tests ran; fails if one did, if none ran, or if tests of the GPU saw none.
run_sharded() {
  local shards=$1 at_once=$2 program=$3 logs n code status=0 ran skipped
  shift 3
  if [[ ! -x $program ]]; then
    echo "ERROR: there is no program $program"
    return 1
  fi
  logs=$(mktemp -d)
  for ((n = 0; n < shards; ++n)); do
    while (($(jobs -rp | wc -l) >= at_once)); do wait -n; done
    (
      GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$n "$@" "$program" >"$logs/$n.log" 2>&1
      echo $? >"$logs/$n.code"
    ) &
  done
  wait
  for ((n = 0; n < shards; ++n)); do
    code=$(<"$logs/$n.code")
    ((code != 0)) || continue
    printf 'ERROR: shard %d of %d of %s ended with %d\n' "$n" "$shards" "${program##*/}" "$code"
    grep -vE '^\[ +(OK|RUN) +\]|^Using configuration|^OK, passed' "$logs/$n.log" | tail -n 60
    status=1
  done
  ran=$(cat "$logs"/*.log | awk '/^\[==========\] [0-9]+ tests? from .* ran\./ { sum += $2 } END { print sum + 0 }')
  skipped=$(cat "$logs"/*.log | grep -cE '^\[  SKIPPED \] .* \([0-9]+ ms\)$')
  printf '%s: %d tests ran, %d of them skipped\n' "${program##*/}" "$ran" "$skipped"
  if grep -hm 1 'this machine has none' "$logs"/*.log; then
    echo "ERROR: the tests see no GPU"
    status=1
  fi
  if ((ran == 0)); then
    echo "ERROR: no test ran"
    status=1
  fi
  rm -r "$logs"
  return "$status"
}
