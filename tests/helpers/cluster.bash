#!/usr/bin/env bash
# A Slurm cluster on this machine, in a folder of its own, on free ports: a controller and two nodes, n1 and n2, with two
# GPUs each that are /dev/null. Debian's slurm-wlm and munge are needed, and root.
#
#   bash tests/helpers/cluster.bash COMMAND...    run it in such a cluster, which ends with it
# shellcheck shell=bash

# cluster_is_possible: or say why not.
cluster_is_possible() {
  local program
  for program in slurmctld slurmd sbatch munged; do
    type -P "$program" >/dev/null || {
      echo "no $program: apt-get install slurm-wlm munge"
      return 1
    }
  done
  ((EUID == 0)) || {
    echo 'slurmd is started by root alone'
    return 1
  }
}

# start_cluster [LINE]...: with these lines in its slurm.conf. Sets CLUSTER, and SLURM_CONF for Slurm's commands.
# shellcheck disable=SC2120 # the tests give some
start_cluster() {
  local host ports=() node
  host=$(hostname -s)
  CLUSTER=$(mktemp -d /tmp/few-shot-sft-cluster.XXXXXX) # a socket's path may have 107 bytes
  export CLUSTER SLURM_CONF=$CLUSTER/slurm.conf
  chmod 755 "$CLUSTER"
  mapfile -t ports < <(python3 -c 'import contextlib, random, socket
open_ = []
while len(open_) < 3:  # below those that systems give to clients
    with contextlib.suppress(OSError):
        open_.append(socket.create_server(("127.0.0.1", random.randrange(10000, 20000))))
print(*(each.getsockname()[1] for each in open_), sep="\n")')
  head -c 128 /dev/urandom >"$CLUSTER/key"
  chmod 400 "$CLUSTER/key"
  printf '%s\n' ClusterName=test "SlurmctldHost=$host(127.0.0.1)" "SlurmctldPort=${ports[0]}" SlurmUser=root SlurmdUser=root \
    AuthType=auth/munge CredType=cred/munge "AuthInfo=socket=$CLUSTER/munge,cred_expire=5" \
    "StateSaveLocation=$CLUSTER/state" "SlurmdSpoolDir=$CLUSTER/spool-%n" "SlurmctldPidFile=$CLUSTER/slurmctld.pid" \
    "SlurmdPidFile=$CLUSTER/slurmd-%n.pid" "SlurmctldLogFile=$CLUSTER/slurmctld.log" "SlurmdLogFile=$CLUSTER/slurmd-%n.log" \
    ProctrackType=proctrack/linuxproc TaskPlugin=task/none JobAcctGatherType=jobacct_gather/none MpiDefault=none \
    SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0 SlurmdTimeout=10 \
    SelectType=select/cons_tres SelectTypeParameters=CR_CPU SlurmdParameters=config_overrides ReturnToService=2 \
    KillWait=20 MinJobAge=2 GresTypes=gpu "$@" \
    "NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=4 Gres=gpu:2" \
    "NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=4 Gres=gpu:2" \
    'PartitionName=all Nodes=ALL Default=YES State=UP' >"$SLURM_CONF"
  : >"$CLUSTER/gres.conf"
  for node in n1 n2; do
    mknod "$CLUSTER/$node-gpu0" c 1 3
    mknod "$CLUSTER/$node-gpu1" c 1 3
    echo "NodeName=$node Name=gpu Flags=nvidia_gpu_env File=$CLUSTER/$node-gpu[0-1]" >>"$CLUSTER/gres.conf"
  done
  munged --force --socket="$CLUSTER/munge" --key-file="$CLUSTER/key" --pid-file="$CLUSTER/munged.pid" \
    --log-file="$CLUSTER/munged.log" --seed-file="$CLUSTER/seed" 2>"$CLUSTER/munged.err" 3>&-
  slurmctld 3>&-
  for node in n1 n2; do start_node "$node"; done
  for node in {1..3000}; do
    [[ $(sinfo --noheader --states=idle --format=%D 2>/dev/null) != 2 ]] || return 0
    sleep 0.1
  done
  tail -n 20 "$CLUSTER"/*.log >&2
  return 1
}

# start_node NAME, kill_node NAME: its slurmd; what it has started goes on.
start_node() { slurmd -N "$1" 3>&-; }
kill_node() { kill -KILL "$(<"$CLUSTER/slurmd-$1.pid")"; }

# end_cluster: its jobs, its daemons, its folder.
end_cluster() {
  [[ -n ${CLUSTER-} ]] || return 0
  local file
  scancel --quiet --state=PENDING --user=root 2>/dev/null || true
  scancel --quiet --user=root 2>/dev/null || true
  for file in {1..100}; do
    [[ -n $(squeue --noheader 2>/dev/null) ]] || break
    sleep 0.1
  done
  local pid
  for file in "$CLUSTER"/slurmd-*.pid "$CLUSTER"/slurmctld.pid "$CLUSTER"/munged.pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || true
    # A zombie, where nobody waits for it, has an empty command line.
    for _ in {1..100}; do
      [[ -n $(tr -d '\0' 2>/dev/null <"/proc/$pid/cmdline") ]] || break
      sleep 0.1
    done
  done
  rm -rf -- "$CLUSTER"
  unset CLUSTER SLURM_CONF
} 2>/dev/null

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -Eeuo pipefail
  cluster_is_possible
  trap end_cluster EXIT
  # shellcheck disable=SC2119 # none here
  start_cluster
  "$@"
fi
