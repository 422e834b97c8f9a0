// A process is named by its pid and its start time: a pid alone comes back for somebody else's process.
import { readFileSync } from 'node:fs'

/**
 * Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat, see proc_pid_stat(5)); null when there is
 * none, or when it is a zombie, which holds nothing any more.
 * @param {number} pid
 */
export function startTime(pid) {
  let stat
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return null
  }
  // The name in parentheses may itself hold blanks and parentheses: the fields begin behind the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? null : Number(fields[19])
}

/** The identity of a running process, by which `isAlive` knows it again. @param {number} pid */
export function identify(pid) {
  const start = startTime(pid)
  return start === null ? null : { pid, start }
}

/** @param {{pid: number, start: number} | null | undefined} process */
export function isAlive(process) {
  return process != null && startTime(process.pid) === process.start
}
