#!/usr/bin/env bash
# A real SLURM on one Debian machine, for the tests: munge, MariaDB, slurmdbd, slurmctld and two slurmd that
# share the host as nodes n1 and n2, two CPUs each.
#
#   cluster.sh install     the Debian packages, where they are missing
#   cluster.sh start       starts what is not running; returns when both nodes are up
#   cluster.sh stop        stops it all
#   cluster.sh stop|start DAEMON    one of slurmdbd, slurmctld, slurmd-n1, slurmd-n2
#
# Everything it writes is under $SLURM_HOME; SLURM_CONF points the commands at it, and its ports are free ones,
# so that a SLURM which the machine already has stays untouched.
set -euo pipefail
home=${SLURM_HOME:-/var/tmp/parcae-slurm}
conf=$home/etc
ports=$home/ports # the first of five, kept while any daemon runs
export SLURM_CONF=$conf/slurm.conf

install() {
    if command -v slurmctld slurmdbd slurmd munged mariadbd >/dev/null; then return; fi
    export DEBIAN_FRONTEND=noninteractive
    exec 8> /var/tmp/parcae-apt.lock  # other tests install packages too, and apt does not wait for itself
    flock 8
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurm-wlm slurmdbd munge mariadb-server >/dev/null
    exec 8>&-
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT: whether somebody listens there

choose_ports() {
    local first port
    for first in $(seq 17000 10 17990); do
        for port in $(seq "$first" $((first + 4))); do
            if taken "$port"; then continue 2; fi
        done
        echo "$first" >"$ports"
        return
    done
    echo "cluster.sh: no five free ports in a row from 17000 to 17999" >&2
    return 1
}

configure() {
    mkdir -p "$conf" "$home/state" "$home/log" "$home/mysql" /run/munge
    local first daemon alive=
    for daemon in "$home"/*.pid; do
        if running "$daemon"; then alive=yes; fi
    done
    [ "$alive" ] && [ -s "$ports" ] || choose_ports
    first=$(cat "$ports")
    database=$first accounting=$((first + 1)) controller=$((first + 2)) node1=$((first + 3)) node2=$((first + 4))
    cat >"$conf/slurmdbd.conf" <<EOF
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$accounting
SlurmUser=root
LogFile=$home/log/slurmdbd.log
PidFile=$home/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$database
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
EOF
    chmod 600 "$conf/slurmdbd.conf"
    # cred_expire bounds how long a requeued job waits before it may start again: 120 s unless set. A job that
    # takes more memory than it asked for is killed, which cgroups would do on a real cluster.
    cat >"$conf/slurm.conf" <<EOF
ClusterName=parcae
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$controller
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool-%n
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd-%n.pid
SlurmctldLogFile=$home/log/slurmctld.log
SlurmdLogFile=$home/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=3000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=6
KillWait=3
UnkillableStepTimeout=300
MinJobAge=300
MaxArraySize=${MAX_ARRAY_SIZE:-17}
MaxJobCount=50000
MpiDefault=none
JobRequeue=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$accounting
NodeName=n1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$node1 CPUs=2 RealMemory=8000 State=UNKNOWN
NodeName=n2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$node2 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
EOF
}

running() { # PIDFILE: whether the process it names lives
    [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}

await() { # SECONDS COMMAND...: until the command succeeds
    local tries=$(($1 * 5)); shift
    for _ in $(seq "$tries"); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "cluster.sh: gave up waiting for: $*; see $home/log" >&2
    return 1
}

sql() { mariadb --protocol=tcp --host=127.0.0.1 --port="$database" --user=root "$@"; }

start_one() {
    case $1 in
    munge)
        chown munge:munge /run/munge /etc/munge /var/log/munge /var/lib/munge
        if [ ! -s /etc/munge/munge.key ]; then
            (umask 077 && dd if=/dev/urandom of=/etc/munge/munge.key bs=128 count=1 status=none)
            chown munge:munge /etc/munge/munge.key
        fi
        if pgrep -x munged >/dev/null; then return; fi # the machine's own, which is left running too
        su -s /bin/sh munge -c /usr/sbin/munged
        cp /run/munge/munged.pid "$home/munge.pid"
        ;;
    mariadb)
        if running "$home/mariadb.pid"; then return; fi
        if [ ! -d "$home/mysql/mysql" ]; then
            mariadb-install-db --user=mysql --datadir="$home/mysql" --auth-root-authentication-method=normal \
                --skip-test-db >"$home/log/mariadb-install.log" 2>&1
        fi
        chmod 755 "$home"
        chown -R mysql: "$home/mysql"
        setsid mariadbd --no-defaults --user=mysql --datadir="$home/mysql" --bind-address=127.0.0.1 --port="$database" \
            --socket="$home/mysql/socket" --pid-file="$home/mysql/pid" --innodb-flush-log-at-trx-commit=0 \
            >"$home/log/mariadb.log" 2>&1 </dev/null &
        echo $! >"$home/mariadb.pid"
        await 60 sql -e 'select 1'
        sql -e "create database if not exists slurm_acct;
            create user if not exists slurm@'%' identified by 'slurm';
            create user if not exists slurm@localhost identified by 'slurm';
            grant all on slurm_acct.* to slurm@'%'; grant all on slurm_acct.* to slurm@localhost;"
        ;;
    slurmdbd)
        if running "$home/slurmdbd.pid"; then return; fi
        slurmdbd
        await 30 sacctmgr -n show cluster
        sacctmgr -n show cluster format=cluster | grep -qw parcae || sacctmgr -iQ add cluster parcae >/dev/null
        ;;
    slurmctld)
        if running "$home/slurmctld.pid"; then return; fi
        slurmctld -i
        await 30 sinfo
        ;;
    slurmd-*)
        if running "$home/$1.pid"; then return; fi
        slurmd -N "${1#slurmd-}"
        ;;
    esac
}

stop_one() {
    local file=$home/$1.pid pid
    if running "$file"; then
        pid=$(cat "$file")
        kill "$pid"
        await "${patience:-10}" eval "! kill -0 $pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
}

both_up() { [ "$(sinfo -h -N -t idle,alloc,mix,comp -o %N | sort -u | wc -l)" = 2 ]; }

resume() { # a node that a test left drained or down
    for node in $(sinfo -h -N -t drain,down -o %N | sort -u); do
        scontrol update NodeName="$node" State=RESUME 2>/dev/null || true
    done
}

case ${1:-} in
install) install ;;
start)
    configure
    for daemon in ${2:-munge mariadb slurmdbd slurmctld slurmd-n1 slurmd-n2}; do start_one "$daemon"; done
    if [ $# = 1 ]; then
        resume
        await 60 both_up
    fi
    ;;
stop)
    [ $# -gt 1 ] || patience=2
    for daemon in ${2:-slurmctld slurmd-n1 slurmd-n2 slurmdbd mariadb munge}; do stop_one "$daemon"; done
    ;;
*) sed -n '2,11s/^# \?//p' "$0"; exit 2 ;;
esac
