// A lock between processes: a file that names its holder by pid and start time, so that one left by kill -9 is known as stale.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identify, isAlive } from './process.mjs'

/**
 * Takes the lock at `path` or returns its holder. The lock ends with release(), or with the process.
 * @param {string} path @param {string} what what the holder is doing, for the one who finds the lock taken
 * @returns {{release: () => void} | {holder: {pid: number, start: number, what: string}}}
 */
export function tryLock(path, what) {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const mine = `${path}.${process.pid}.${Math.floor(performance.now() * 1000)}`
  writeFileSync(mine, JSON.stringify({ ...identify(process.pid), what }), { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        // link(2) makes the name with its whole content at once, and fails when it is there: no half-written lock is ever seen.
        linkSync(mine, path)
        return { release: () => rmSync(path, { force: true }) }
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
      }
      const holder = readHolder(path)
      if (holder === null) continue
      if (isAlive(holder)) return { holder }
      // Stale. Take it away under another name first: if somebody was quicker, what we moved is his new lock, and goes back.
      const stale = `${mine}.stale`
      try {
        renameSync(path, stale)
        const moved = readHolder(stale)
        if (moved && isAlive(moved)) linkSync(stale, path)
      } catch (error) {
        if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error
      } finally {
        rmSync(stale, { force: true })
      }
    }
    return { holder: { pid: 0, start: 0, what: 'taking the lock' } }
  } finally {
    rmSync(mine, { force: true })
  }
}

/**
 * Waits for the lock, at most `timeout_ms`.
 * @param {string} path @param {string} what @param {{timeout_ms: number, onWait?: (holder: {pid: number, what: string}) => void, signal?: AbortSignal}} options
 * @returns {Promise<{release: () => void} | {holder: {pid: number, start: number, what: string}}>}
 */
export async function waitLock(path, what, options) {
  const end = performance.now() + options.timeout_ms
  let told = false
  for (;;) {
    const lock = tryLock(path, what)
    if ('release' in lock || performance.now() >= end) return lock
    if (!told) options.onWait?.(lock.holder)
    told = true
    await sleep(200, undefined, { signal: options.signal })
  }
}

function readHolder(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}
