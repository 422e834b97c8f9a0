import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import type { NodeRecord } from '../../../src/grid/state.ts'

export function nodeRecord (grid: string, node: string): NodeRecord {
  return JSON.parse(readFileSync(`/run/xos-grid/${grid}/nodes/${node}.json`, 'utf8')) as NodeRecord
}

export function holderPid (grid: string): number {
  return (JSON.parse(readFileSync(`/run/xos-grid/${grid}/holder.json`, 'utf8')) as { pid: number }).pid
}

/** The kinds and numbers of the namespaces of a process: 'net:[4026532]' and so on. */
export function namespaces (pid: number): string[] {
  return ['net', 'pid', 'mnt', 'uts', 'ipc'].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`))
}

/** Pids of all processes that are in one of the namespaces. */
export function processesIn (wanted: readonly string[]): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return namespaces(pid).some((each) => wanted.includes(each))
    } catch {
      return false
    }
  })
}
