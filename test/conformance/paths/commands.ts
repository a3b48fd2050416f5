/* Tools that look at a kernel, each with its arguments. */

const bpftool = [
  ...['prog show', 'map show', 'link show', 'btf list', 'cgroup tree', 'perf show', 'net show'],
  ...['iter help', 'struct_ops show', 'feature probe kernel', 'feature probe dev lo', 'version'],
  ...[
    'btf dump file /sys/kernel/btf/vmlinux',
    'map create /sys/fs/bpf/paths type array key 4 value 4 entries 1 name paths',
  ],
  ...['map show pinned /sys/fs/bpf/paths', '-f map show', 'prog tracelog'],
].map((words) => `bpftool ${words}`);

const bpftrace = [
  ...[
    "-e 'BEGIN { exit(); }'",
    "-l 'tracepoint:sched:*'",
    "-l 'kprobe:vfs_re*'",
    "-l 'software:*'",
  ],
  ...["-e 'tracepoint:sched:sched_switch { exit(); }'", "-e 'kprobe:vfs_read { exit(); }'"],
  ...[
    "-e 'interval:ms:10 { print(kstack); exit(); }'",
    "-e 'profile:hz:99 { @[ustack] = count(); exit(); }'",
  ],
  ...["-e 'kfunc:vfs_read { exit(); }'", "-e 'hardware:cycles:1000 { exit(); }'", '--info'],
].map((words) => `bpftrace ${words}`);

const libbpfTools = [
  ...['bashreadline', 'bindsnoop', 'biolatency 1 1', 'biolatency -D 1 1', 'biopattern 1 1'],
  ...['biosnoop 1', 'biostacks 1', 'biotop 1 1', 'bitesize', 'cachestat 1 1', 'cpudist 1 1'],
  ...['cpufreq -d 1', 'drsnoop -d 1', 'execsnoop', 'exitsnoop', 'filelife', 'filetop 1 1'],
  ...['fsdist -t ext4 1 1', 'fsslower -t ext4 -d 1', 'funclatency -d 1 vfs_read', 'gethostlatency'],
  ...['hardirqs 1 1', 'killsnoop', 'klockstat -d 1', 'ksnoop info vfs_read', 'llcstat 1'],
  ...['mdflush', 'mountsnoop', 'numamove', 'offcputime 1', 'oomkill', 'opensnoop -d 1'],
  ...['readahead -d 1', 'runqlat 1 1', 'runqlen 1 1', 'runqslower', 'sigsnoop', 'slabratetop 1 1'],
  ...['softirqs 1 1', 'solisten', 'statsnoop', 'syscount -d 1', 'tcpconnect', 'tcpconnlat'],
  ...['tcplife', 'tcprtt -d 1', 'tcpstates', 'tcpsynbl', 'tcptop 1 1', 'tcptracer', 'vfsstat 1 1'],
  ...['wakeuptime 1'],
];

const perf = [
  ...['list', 'stat -a -e task-clock sleep 0.1', 'stat -a -e sched:sched_switch sleep 0.1'],
  ...['record -a -e cpu-clock -o /dev/null sleep 0.1', 'trace -a sleep 0.1', 'top --stdio -d 1'],
  ...[
    'probe -l',
    'sched record -o /dev/null sleep 0.1',
    'version --build-options',
    'buildid-list -k',
  ],
].map((words) => `perf ${words}`);

const system = [
  ...['ps aux', 'pgrep init', 'pidof init', 'top -b -n 1', 'free', 'uptime', 'vmstat', 'w'],
  ...['lsmod', 'lscpu', 'lsblk', 'df -a', 'findmnt', 'mount', 'ss -a', 'ls -lR /sys/kernel/btf'],
  ...[
    'ls -l /proc/1/ns /proc/1/fd',
    'ls /boot /lib/modules',
    'find /sys/class/net',
    'sysctl kernel.ostype vm.swappiness',
  ],
  ...['dmesg', 'pmap 1', 'slabtop -o', 'tload -d 1', 'lsns', 'uname -a', 'nproc', 'cat /proc/stat'],
  ...["python3 -c 'import os; print(os.cpu_count(), os.getloadavg())'", 'node -p os.cpus().length'],
];

/** The commands, in the order in which they are run. */
export const commands: readonly string[] = [
  ...bpftool,
  ...bpftrace,
  ...libbpfTools,
  ...perf,
  ...system,
];
