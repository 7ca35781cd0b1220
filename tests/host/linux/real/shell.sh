# What a shell does: pipes, substitution, redirection, functions, loops, traps, jobs.
mkdir shell; cd shell
echo hello | cat
cat <<EOF
here $((1+2)) `echo back` $(echo dollar)
EOF
cat <<'EOF'
raw $HOME `x`
EOF
cat <<-EOF
	tabs
	EOF
(echo sub; exit 3); echo $?
trap 'echo got TERM' TERM
kill -TERM $$; trap - TERM  # or a child that is killed before it forgets the trap goes on
trap 'echo bye' EXIT
sleep 0.1 & 
p=$!
wait $p; echo waited $?
(sleep 0.2; exit 7) & wait $!; echo $?
seq 1 100 | grep 1 | sed 's/1/x/' | sort | wc -l
echo a >f; echo b >>f; cat <f; cat f 2>/dev/null nosuch; echo $?
ls nosuch 2>&1
exec 3>g; echo three >&3; exec 3>&-; cat g
while read -r a b; do echo "$b-$a"; done <<EOF
1 2 3
4 5 6
EOF
f() { local x=5; echo $x $1; return 4; }
f arg; echo $?
[ 1 -lt 2 ] && [[ abc == a* ]] && echo test ok
(set -e; false; echo not) ; echo $?
x=$(seq 1 5 | tr '\n' ' '); echo "$x"
case foo in f*) echo case;; esac
for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done
i=0; until [ $i -ge 3 ]; do i=$((i+1)); done; echo $i
sleep 10 & kill $!; wait $!; echo killed $?
seq 1 10 | xargs -n 3 echo
echo ${HOME:-none} ${x%% *} ${#x} ${x/1/one}
printf '%05d %s %x\n' 42 str 255
echo abc | { read v; echo "v=$v"; }
umask; umask 077; touch priv; stat -c %a priv
eval 'echo evaled'
set -- a b c; echo $# $2; shift; echo $1
getopts ab: o -a -b x && echo $o
trap 'echo usr1' USR1; (kill -USR1 $$) ; sleep 0; 
yes | head -n 3
mkfifo ff; (echo through >ff &); cat ff
set -u; (echo $nothing) 2>&1; set +u
x() { trap 'echo ret' EXIT; false || return 2; }; ( x ); echo $?
( trap 'echo int; exit 9' INT; kill -INT $(sh -c 'echo $PPID') ; sleep 1; ); echo $?
{ echo out; echo err >&2; } 2>&1 >/dev/null | tr a-z A-Z
exec 4<<EOF
line one
line two
EOF
read l <&4; echo "$l"; read l <&4; echo "$l"; exec 4<&-
for p in 1 2 3 4 5; do (sleep 0.$p; echo $p) & done; wait
seq 1 20 | while read n; do [ $((n % 5)) = 0 ] && echo $n; done
echo abc | sed 's/b/[&]/' | rev | tr c C | cat | wc -c
a=1; b=$((a<<4 | 3)); echo $b $((b/2)) $((b%5)) $((-b)) $((0x1f)) $((b>10?1:0))
echo "${a:+set}" "${b#1}" "${b%9}" ; s=hello.tar.gz; echo ${s%.*} ${s%%.*} ${s#*.} ${s##*.} ${s:2:3}
printf '%s\n' "a b" 'c  d' | while IFS= read -r q; do echo "<$q>"; done
IFS=:; set -- $(echo 1:2:3); echo $#; unset IFS
command -v cd; type ls 2>/dev/null | wc -l; hash -r
false; echo $?; ! true; echo $?; true && false || echo or
sh -c 'kill -SEGV $$'; echo $?; sh -c 'kill -9 $$'; echo $?; sh -c 'exit 300'; echo $?
nosuchcommand 2>/dev/null; echo $?; ./s.txt 2>/dev/null; echo $?; touch noexec; ./noexec 2>/dev/null; echo $?
sleep 1 | sleep 0; echo $?; 
( sleep 5 & echo $! >pid; wait ) & sleep 0.2; kill $(cat pid); wait; echo done
trap '' TERM; sh -c 'kill -TERM $$; echo survived'; trap - TERM
echo *; echo [a-b]* ; mkdir -p gg/h; touch gg/1 gg/h/2; echo gg/* gg/*/*; cd gg; pwd | sed 's,.*/,,'; cd - >/dev/null; pwd | sed 's,.*/,,' >/dev/null
test -f gg/1 -a -d gg; echo $?; [ gg/1 -nt nosuch ]; echo $?; [ -s gg/1 ]; echo $?; [ -p /dev/stdin ] ; echo $?
read -t 1 v </dev/null; echo $?; echo partial | { read -n 3 v; echo $v; }
sleep 3 | { read -t 0.2 v; echo "t $?"; }
exec 5<>rw; echo rw >&5; cat rw; exec 5>&-
umask 022; umask -S; 
true
echo 'echo sourced $1' >src; . ./src arg
(trap "echo chld" CHLD; sleep 0.1 & wait $!; trap - CHLD)
sh -c "kill -SEGV \$\$"; echo $?
exit 5
