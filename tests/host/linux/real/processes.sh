# Processes: background jobs, signals, time limits, what /proc and the tools say of them.
mkdir processes; cd processes
timeout 1 sleep 5; echo timeout $?
timeout 0.2 sh -c 'while :; do :; done'; echo $?
timeout 0.2 yes >/dev/null; echo $?
timeout -s KILL 0.2 dd if=/dev/zero of=/dev/null 2>/dev/null; echo $?
timeout 0.2 cat </dev/zero >/dev/null; echo $?
seq 1 10 | xargs -n 3 echo
seq 1 4 | xargs -P 2 -I{} sh -c 'echo {} >o{}'; cat o1 o2 o3 o4
yes | sed 5q | tr y n
sleep 10 & kill $!; wait $!; echo killed $?
for p in 1 2 3 4 5; do (sleep 0.$p; echo $p) & done; wait
( sleep 5 & echo $! >pid; wait ) & sleep 0.2; kill $(cat pid); wait; echo done
sleep 3 & stopped=$!; kill -STOP $stopped; kill -CONT $stopped; kill $stopped; wait $stopped; echo $?
echo x >log; tail -f log & tp=$!; sleep 0.3; echo more >>log; sleep 1.5; kill $tp; wait $tp; echo $?
watch -n 1 -t echo w >w.out & wp=$!; sleep 0.5; kill $wp; wait $wp; grep -c w w.out
start-stop-daemon -S -b -m -p pidf -x sleep -- 5; sleep 0.1; kill -0 $(cat pidf) && echo daemon; kill $(cat pidf)
nohup echo nohup 2>/dev/null </dev/null | cat; setsid echo setsid; env -i A=b env; nice -n 5 nice
ps >/dev/null && echo ps; ps -o pid,comm | head -3 | wc -l; top -b -n1 | head -3 | wc -l
free >/dev/null; echo $?; uptime >/dev/null; echo $?; pgrep -f processes.sh >/dev/null && echo pgrep; pidof nosuch; echo $?
uname -s -m; id -u; nproc >/dev/null && echo nproc; kill -l 9; renice 3 $$; nice
head -1 /proc/meminfo | cut -c1-8; cut -c1-5 /proc/version; wc -w </proc/loadavg; tr '\0' ' ' </proc/$$/cmdline | grep -o 'sh processes.*'
test -s /proc/self/maps && echo maps; test -d /proc/$$/task/$$ && echo task; test -s /proc/cpuinfo && echo cpuinfo
date -u -d @86400 '+%F %T'; cal 1 2020 | head -3; stty size </dev/null 2>&1; tty </dev/null
chrt -p $$ >/dev/null; echo $?; taskset -p $$ >/dev/null; echo $?; ionice -p $$ >/dev/null; echo $?; ulimit -c 0; echo $?
sysctl kernel.ostype; usleep 1000; echo $?; sync; echo $?; time -f '' true 2>/dev/null; echo $?
exit 0
