/** Files as kernels wrote them: of v1 by Linux 6.18 with a limit and swap accounting, of v2 by Linux 6.12. */
export const recordedV1: Readonly<Record<string, string>> = {
  "cpuacct.usage": "6976665\n",
  "memory.usage_in_bytes": "729088\n",
  "memory.stat": `cache 135168
rss 249856
rss_huge 0
mapped_file 4096
swap 0
inactive_file 12288
hierarchical_memory_limit 67108864
hierarchical_memsw_limit 83886080
total_cache 270336
total_rss 253952
total_rss_huge 0
total_shmem 0
total_mapped_file 8192
total_swap 4096
total_pgfault 207
total_pgmajfault 3
total_inactive_anon 249856
total_inactive_file 24576
total_active_file 110592
`,
  "pids.current": "2\n",
  "cpu.pressure": `some avg10=70.28 avg60=61.02 avg300=31.72 total=2288507399
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
`,
  "memory.pressure": `some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
`,
  "io.pressure": `some avg10=1.48 avg60=1.92 avg300=1.79 total=201250442
full avg10=0.12 avg60=0.18 avg300=0.39 total=100810931
`,
  "cpuacct.usage_user": "4000000\n",
  "cpuacct.usage_sys": "2976665\n",
  "cpu.stat": "nr_periods 12\nnr_throttled 3\nthrottled_time 4500000\nnr_bursts 0\nburst_time 0\n",
  "cpu.shares": "102\n",
  "cpu.cfs_quota_us": "-1\n",
  "cpu.cfs_period_us": "100000\n",
  "memory.max_usage_in_bytes": "1015808\n",
  "memory.failcnt": "4\n",
  "memory.soft_limit_in_bytes": "9223372036854771712\n",
  "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
  "pids.max": "max\n",
  "cgroup.procs": "101\n117\n",
  "blkio.throttle.io_service_bytes_recursive": `8:0 Read 4096
8:0 Write 10485760
8:0 Sync 10485760
8:0 Async 4096
8:0 Discard 0
8:0 Total 10489856
Total 10489856
`,
  "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 20\n8:0 Total 21\nTotal 21\n",
};

export const recordedV2: Readonly<Record<string, string>> = {
  "cpu.stat": `usage_usec 6976
user_usec 4000
system_usec 2976
nice_usec 0
core_sched.force_idle_usec 0
nr_periods 12
nr_throttled 3
throttled_usec 4500
nr_bursts 0
burst_usec 0
`,
  "memory.current": "729088\n",
  "memory.max": "67108864\n",
  "memory.stat": `anon 253952
file 270336
kernel 65536
kernel_stack 16384
file_mapped 8192
file_dirty 0
inactive_anon 249856
active_anon 0
inactive_file 24576
active_file 110592
slab 32768
workingset_refault_file 0
pgfault 207
pgmajfault 3
`,
  "memory.swap.current": "4096\n",
  "memory.swap.max": "16777216\n",
  "pids.current": "2\n",
  "cpu.pressure": recordedV1["cpu.pressure"] ?? "",
  "memory.pressure": recordedV1["memory.pressure"] ?? "",
  "io.pressure": recordedV1["io.pressure"] ?? "",
  "cpu.weight": "4\n",
  "cpu.max": "max 100000\n",
  "memory.peak": "1015808\n",
  "memory.events": "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n",
  "memory.low": "0\n",
  "pids.max": "max\n",
  "cgroup.procs": "101\n117\n",
  "io.stat": "8:0 rbytes=4096 wbytes=10485760 rios=1 wios=20 dbytes=0 dios=0\n253:1 \n",
};
