// The measuring programs, built in the anchor root (whose g++ is always there), linked statically so that they run in every root.

import { readFile, readdir } from 'node:fs/promises'
import type { Pen } from './pen.ts'

export const programNames = ['spawn', 'keystroke', 'files'] as const
export type ProgramName = typeof programNames[number]
export type Programs = ReadonlyMap<ProgramName, Buffer>

const sources = new URL('../programs/', import.meta.url)
/** Byte of the ELF header (padding) by which a session knows a program that stays local, and its value; see image/base/local-programs. */
const mark = { at: 9, value: 0x78 }

/** Builds them in the pen (some seconds), installs them there as /usr/local/bin/bench-NAME, and returns them, marked local. */
export async function buildPrograms(pen: Pen): Promise<Programs> {
  for (const name of await readdir(sources)) await pen.write(`/tmp/src/${name}`, await readFile(new URL(name, sources)))
  await pen.sh(`cd /tmp/src; for name in ${programNames.join(' ')}; do
    g++ -std=c++20 -O2 -Wall -Wextra -static -o /usr/local/bin/bench-$name $name.cc; done; rm -r /tmp/src`, { timeout_ms: 120_000 })
  const built = new Map<ProgramName, Buffer>()
  for (const name of programNames) {
    const binary = await readFile(`/proc/${pen.pid}/root/usr/local/bin/bench-${name}`)
    binary[mark.at] = mark.value
    built.set(name, binary)
  }
  return built
}
