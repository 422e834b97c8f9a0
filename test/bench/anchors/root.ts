// The root that the anchors (OpenSSH, Slurm, GlusterFS) run from: Debian 12, because that is the Debian with GlusterFS 10 and Slurm 22.05.

import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { debianMirror } from '../../../src/setup/image/mirror.mjs'
import { XosError } from '../../../src/core/errors.ts'
import { run } from '../run.ts'

const suite = 'bookworm'
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
const packages = [
  'iproute2', 'mount', 'procps', 'netbase', 'openssh-server', 'openssh-client', 'slurmctld', 'slurmd', 'slurm-client', 'munge',
  'glusterfs-server', 'glusterfs-client', 'attr', 'fio', 'python3-minimal', 'g++', 'libc6-dev', 'tar', 'findutils',
]

export interface AnchorRoot {
  readonly path: string
  /** A directory on disk for what the anchors store (bricks, spool); emptied by who uses it. */
  readonly state: string
}

/**
 * The anchor root, made on first use (1–3 minutes) under `base` and kept for later runs; it is rebuilt when the package list changes.
 * Throws `XOS_BENCH_ANCHOR_ROOT` when it cannot be made.
 */
export async function anchorRoot(base: string, say: (text: string) => void, signal: AbortSignal): Promise<AnchorRoot> {
  const path = `${base}/${suite}`
  const state = `${base}/state`
  const wanted = createHash('sha256').update(JSON.stringify([suite, packages])).digest('hex')
  const stampFile = `${path}.stamp`
  const stamp = existsSync(stampFile) ? (await readFile(stampFile, 'utf8')).trim() : ''
  await mkdir(state, { recursive: true, mode: 0o755 })
  if (stamp === wanted && existsSync(`${path}/usr/sbin/sshd`)) return { path, state }
  say(`anchors: installing OpenSSH, Slurm and GlusterFS from Debian ${suite} into '${path}' (once, 1–3 minutes)`)
  await build(path, signal)
  await writeFile(stampFile, wanted)
  return { path, state }
}

async function build(path: string, signal: AbortSignal): Promise<void> {
  const partial = `${path}.partial`
  try {
    await rm(partial, { recursive: true, force: true })
    await run([
      'mmdebstrap', '--mode=root', '--variant=apt', '--format=directory', `--include=${packages.join(',')}`,
      '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Check-Valid-Until "false"',
      '--dpkgopt=path-exclude=/usr/share/doc/*', '--dpkgopt=path-exclude=/usr/share/man/*', '--dpkgopt=path-exclude=/usr/share/locale/*',
      suite, partial, `deb [signed-by=${keyring}] ${debianMirror()} ${suite} main`,
    ], { timeout_ms: 15 * 60_000, signal })
    await rm(path, { recursive: true, force: true })
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { recursive: true, force: true })
    const why = error instanceof Error ? error.message : String(error)
    throw new XosError('XOS_BENCH_ANCHOR_ROOT', `cannot make the anchor root '${path}': ${why}; check apt's sources and the network`, {}, { cause: error })
  }
}
