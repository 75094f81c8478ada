#!/usr/bin/env bash
# Checks the models of this directory exhaustively, then that every mistake seeded
# in them is found. Prints one line for each; exits with 1 at the first failure.
#
#   docs/model/check.sh            everything
#   docs/model/check.sh -k         keep the working directory, for the traces
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
keep=false
case "${1-}" in
-k) keep=true ;;
'') ;;
*)
	echo "usage: $0 [-k]" >&2
	exit 2
	;;
esac

missing=
command -v spin >/dev/null || missing+=' spin'
CC=${CC:-$(command -v cc || command -v gcc || command -v clang || true)}
command -v "${CC:-none}" >/dev/null || missing+=' gcc (or another C compiler, in CC) and libc6-dev'
if [ -n "$missing" ]; then
	echo "docs/model/check.sh needs:$missing" >&2
	echo "Debian, Ubuntu: apt-get install spin gcc libc6-dev; macOS: brew install spin; else https://spinroot.com" >&2
	exit 1
fi

work=$(mktemp -d)
if $keep; then
	echo "working directory: $work"
else
	trap 'rm -rf "$work"' EXIT
fi

# A search that needs more than this is stopped, and counts as a failure.
max_depth=100000
max_mib=3000
max_seconds=300

passed=0

# search KIND MODEL DEFINE… runs spin and the checker that it makes, and writes
# the checker's output to $out. KIND is safety (assertions, deadlocks) or liveness
# (the ltl formula, with weak fairness).
search() {
	local kind=$1 model=$2 dir
	shift 2
	dir=$(mktemp -d "$work/$model.XXXXXX")
	out=$dir/out
	local flags run
	case $kind in
	safety) flags=(-DSAFETY -DNOCLAIM) run=() ;;
	# NFAIR is the number of words of flags that weak fairness needs: one per process.
	liveness) flags=(-DNFAIR=4) run=(-a -f) ;;
	esac
	cd "$dir"
	spin -a "$@" "$here/$model.pml" >spin.out 2>&1 || { cat spin.out >&2; exit 1; }
	# -w: the C code is spin's, and so are its warnings.
	"$CC" -O2 -w -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=$max_mib "${flags[@]}" -o pan pan.c
	timeout "$max_seconds" ./pan "${run[@]}" -m$max_depth -w23 >"$out" 2>&1 || echo "exit status $?" >>"$out"
	cd "$here"
}

# complete returns 0 if the search has seen all states and no error.
complete() {
	grep -q 'errors: 0$' "$out" &&
		! grep -qE 'not completed|too small|exit status|out of memory' "$out"
}

# right KIND MODEL WHO DEFINE… checks that the model keeps its promises.
right() {
	local kind=$1 model=$2 who=$3
	shift 3
	search "$kind" "$model" "$@"
	if ! complete; then
		printf 'FAIL  %s.pml  %-8s  %s\n' "$model" "$kind" "$who" >&2
		grep -v '^$' "$out" | head -20 >&2
		exit 1
	fi
	printf 'ok    %s.pml  %-8s  %s: %s states\n' "$model" "$kind" "$who" \
		"$(awk '/states, stored/ { print $1; exit }' "$out")"
	passed=$((passed + 1))
}

# wrong KIND MODEL MISTAKE DEFINE… checks that the checker finds the mistake.
wrong() {
	local kind=$1 model=$2 mistake=$3
	shift 3
	grep -q "MISTAKE_$mistake\$" "$here/$model.pml" || {
		echo "FAIL  $model.pml has no MISTAKE_$mistake" >&2
		exit 1
	}
	search "$kind" "$model" "-DMISTAKE_$mistake" "$@"
	# An error of the model itself, such as an index out of range, does not count.
	if ! grep -q 'errors: 1$' "$out" || grep -q 'invalid array index' "$out"; then
		printf 'FAIL  %s.pml  %-8s  %s was not found\n' "$model" "$kind" "$mistake" >&2
		grep -v '^$' "$out" | head -20 >&2
		exit 1
	fi
	printf 'found %s.pml  %-8s  %s: %s\n' "$model" "$kind" "$mistake" \
		"$(sed -n 's/^pan:1: //p' "$out" | head -1)"
	tried+=" $model:$mistake"
	passed=$((passed + 1))
}
tried=

right safety close 'two register, two wait, one closes'
right safety close 'two close concurrently' -DREGISTRARS=1 -DCLOSERS=2
right safety close 'a source is closed concurrently, a waker wakes' -DREGISTRARS=1 -DSOURCE_CLOSERS=1 -DWAKERS=1
right liveness close 'every Wait ends' -DREGISTRARS=1
right liveness close 'every Wait ends, a source is closed concurrently' -DREGISTRARS=1 -DSOURCE_CLOSERS=1

wrong safety close TORN_ENTER
wrong safety close TORN_LEAVE
wrong safety close NOBODY_SEALS
wrong safety close NOBODY_WOKEN
wrong safety close CLOSER_NOT_COUNTED
wrong safety close DRAIN_BEFORE_SEALED
wrong safety close DRAIN_WITHOUT_LOCK
wrong liveness close CLOSED_NOT_LOOKED_AT -DREGISTRARS=1

right safety sleep 'two wait forever' -DFOREVER=2 -DTIMED=0
right safety sleep 'two wait, one with a deadline' -DFOREVER=1 -DTIMED=1 -DEXPIRIES=0
right safety sleep 'two wait, a deadline expires' -DFOREVER=1 -DTIMED=1 -DWAKES=1
right safety sleep 'three wait, a deadline expires' -DFOREVER=2 -DTIMED=1 -DWAKES=1 -DEDGES=0
right safety sleep 'three wait, two with deadlines' -DFOREVER=1 -DTIMED=2 -DWAKES=1 -DEDGES=0 -DEXPIRIES=0
right safety sleep 'two wait, Close at any time' -DFOREVER=2 -DTIMED=0 -DWAKES=1 -DCLOSE_AT_ANY_TIME
right safety sleep 'one with a deadline, Close at any time' -DFOREVER=1 -DTIMED=1 -DWAKES=1 -DEDGES=0 -DCLOSE_AT_ANY_TIME
right safety sleep 'two block their threads' -DBLOCK_THREAD -DFOREVER=2 -DTIMED=0
right safety sleep 'three block their threads' -DBLOCK_THREAD -DFOREVER=3 -DTIMED=0 -DWAKES=1 -DEDGES=0 -DCLOSE_AT_ANY_TIME
right liveness sleep 'every Wait ends' -DFOREVER=2 -DTIMED=0 -DWAKES=1 -DEDGES=0 -DCLOSE_AT_ANY_TIME
right liveness sleep 'every Wait ends, a deadline expires' -DFOREVER=1 -DTIMED=1 -DWAKES=1 -DEDGES=0

wrong safety sleep LOOK_BEFORE_LEADING -DFOREVER=2 -DTIMED=0
wrong safety sleep LOOK_BEFORE_BLOCKED -DBLOCK_THREAD -DFOREVER=2 -DTIMED=0
wrong safety sleep DEADLINE_CLEARED_AFTER_LOOK -DFOREVER=2 -DTIMED=0
wrong safety sleep WAKE_NOT_PASSED_ON -DBLOCK_THREAD -DFOREVER=2 -DTIMED=0
wrong safety sleep NO_NEW_LEADER -DFOREVER=2 -DTIMED=0
wrong safety sleep RESIGNED_IN_SILENCE -DFOREVER=1 -DTIMED=1 -DWAKES=1

# Every mistake must be tried.
for model in close sleep; do
	for mistake in $(grep -oE 'MISTAKE_[A-Z_]+[A-Z]' "$here/$model.pml" | sed 's/^MISTAKE_//' | sort -u); do
		case " $tried " in
		*" $model:$mistake "*) ;;
		*)
			echo "FAIL  $model.pml: MISTAKE_$mistake is never tried" >&2
			exit 1
			;;
		esac
	done
done
echo "$passed checks passed"
