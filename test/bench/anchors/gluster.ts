// GlusterFS with one brick on the machine's disk, mounted in the pen.

import { XosError } from '../../../src/core/errors.ts'
import { type Pen, penAddress } from './pen.ts'

export const glusterMount = '/mnt/gluster'

/** Starts glusterd, makes a volume of one brick and mounts it. Throws `XOS_BENCH_GLUSTER`. */
export async function startGluster(pen: Pen): Promise<void> {
  await pen.sh(`
    rm -rf /state/gluster; mkdir -p /state/gluster/brick ${glusterMount} /run/gluster /var/log/glusterfs
    glusterd < /dev/null > /dev/null 2>&1`)
  const made = await pen.sh(`
    for attempt in $(seq 100); do gluster --mode=script volume info > /dev/null 2>&1 && break; sleep 0.2; done
    gluster --mode=script volume create bench ${penAddress.n1}:/state/gluster/brick force
    gluster --mode=script volume start bench
    mount -t glusterfs ${penAddress.n1}:/bench ${glusterMount}
    stat -f -c %T ${glusterMount}`, { mayFail: true, timeout_ms: 90_000 })
  if (made.status !== 0 || !made.stdout.includes('fuse')) {
    throw new XosError('XOS_BENCH_GLUSTER', `cannot mount a GlusterFS volume: ${made.stderr.trim()} ${made.stdout.trim()}`)
  }
}
