#!/bin/sh
# check_assembler.sh COMMAND...: runs a compiler command and fails where the assembler (ptxas -v) says that a kernel spills
# registers or uses local memory, ignores setmaxnreg (C7508) or serialises matrix products (C7510 to C7518, C7520). Each of these
# leaves a kernel right but slow, and only the assembler knows. Its report is shown only then.
# A source that is known to spill outside its loops says how many bytes it may: -DPANTILE_COLD_SPILL_BYTES=n.
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
allowed=0
for word in "$@"; do
    case $word in -DPANTILE_COLD_SPILL_BYTES=*) allowed=${word#*=} ;; esac
done
"$@" 2> "$log"
status=$?
faults=$(awk -v allowed="$allowed" '
    /C75(08|1[0-8]|20)/ { print }
    { for (i = 2; i < NF; ++i) if ($i == "bytes" && $(i + 1) ~ /^(stack|spill)$/ && $(i - 1) + 0 > allowed) { print; next } }
' "$log")
if [ -n "$faults" ]; then
    cat "$log" >&2
    echo "check_assembler.sh: a kernel spills registers or serialises matrix products:" >&2
    echo "$faults" >&2
    exit 1
fi
grep -v '^ptxas info' "$log" | grep -v 'bytes stack frame' >&2
exit $status
