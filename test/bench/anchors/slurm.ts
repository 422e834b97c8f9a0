// Slurm on the two nodes of the pen: slurmctld and slurmd on n1, slurmd on n2, authenticated by munge, without accounting.

import { XosError } from '../../../src/core/errors.ts'
import { type Pen, penAddress } from './pen.ts'

/**
 * This Slurm starts what waits in cycles of about half a second, as many jobs as there are slots. Three slots a processor keep the
 * processors busy between two cycles; with one slot a processor it ends 4 short jobs a second.
 */
const slotsPerCpu = 3

const configuration = (slots: number): string => `
ClusterName=bench
SlurmctldHost=n1(${penAddress.n1})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,default_queue_depth=1000
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MaxJobCount=20000
MinJobAge=2
SlurmctldTimeout=30
SlurmdTimeout=60
StateSaveLocation=/state/slurm/ctld
SlurmdSpoolDir=/state/slurm/%n
SlurmdParameters=config_overrides
SlurmctldPidFile=/run/slurm/ctld.pid
SlurmdPidFile=/run/slurm/%n.pid
SlurmctldLogFile=/run/slurm/ctld.log
SlurmdLogFile=/run/slurm/%n.log
NodeName=n1 NodeAddr=${penAddress.n1} NodeHostname=n1 CPUs=${slots} State=UNKNOWN
NodeName=n2 NodeAddr=${penAddress.n2} NodeHostname=n1 Port=6819 CPUs=${slots} State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
`

/** Starts Slurm and returns when `srun` has run on n2. Throws `XOS_BENCH_SLURM` when it has not within a minute. */
export async function startSlurm(pen: Pen, cpus: number): Promise<void> {
  await pen.write('/etc/slurm/slurm.conf', configuration(cpus * slotsPerCpu))
  await pen.write('/etc/slurm/cgroup.conf', 'CgroupPlugin=cgroup/v1\n')
  await pen.sh(`
    rm -rf /state/slurm; mkdir -p /state/slurm/ctld /state/slurm/n1 /state/slurm/n2 /run/slurm /run/munge
    dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 2> /dev/null
    chown -R munge:munge /etc/munge /run/munge /var/lib/munge /var/log/munge; chmod 600 /etc/munge/munge.key; chmod 755 /run/munge
    runuser -u munge -- munged < /dev/null
    slurmctld < /dev/null
    slurmd -N n1 < /dev/null`)
  await pen.sh('slurmd -N n2 > /dev/null 2>&1 < /dev/null', { node: 'n2' })
  const until = performance.now() + 60_000
  for (;;) {
    const tried = await pen.run(['srun', '-n1', '-w', 'n2', 'true'], { mayFail: true, timeout_ms: 15_000 })
    if (tried.status === 0) return
    if (performance.now() > until) {
      const logs = await pen.sh('tail -n 8 /run/slurm/*.log', { mayFail: true })
      throw new XosError('XOS_BENCH_SLURM', `cannot run a job under Slurm: ${tried.stderr.trim()}\n${logs.stdout}`)
    }
    await new Promise((resolve) => { setTimeout(resolve, 500) })
  }
}
