import test from 'ava'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tryLock, waitLock } from '../../../src/setup/lib/lock.mjs'
import { identify, isAlive, startTime } from '../../../src/setup/lib/process.mjs'

function path (t: { teardown(undo: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'xos-lock-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'lock')
}

test('a lock that is held names its holder, and is free after release', (t) => {
  const file = path(t)
  const first = tryLock(file, 'painting')
  t.true('release' in first)
  const second = tryLock(file, 'singing')
  t.deepEqual('holder' in second ? [second.holder.pid, second.holder.what] : null, [process.pid, 'painting'])
  if ('release' in first) first.release()
  t.true('release' in tryLock(file, 'singing'))
})

test('a lock left behind by kill -9 is taken over, and nothing else stays', async (t) => {
  const file = path(t)
  const script = `const { tryLock } = await import(${JSON.stringify(new URL('../../../src/setup/lib/lock.mjs', import.meta.url).href)}); tryLock(${JSON.stringify(file)}, 'dying'); console.log('held'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  t.true('holder' in tryLock(file, 'waiting'))
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.true(existsSync(file))
  t.true('release' in tryLock(file, 'waiting'))
  t.deepEqual(readdirSync(join(file, '..')), ['lock'])
})

test('a lock of a pid that came back for another process is stale', (t) => {
  const file = path(t)
  writeFileSync(file, JSON.stringify({ pid: process.pid, start: 1, what: 'long ago' }))
  t.true('release' in tryLock(file, 'now'))
})

test('waiting ends with the lock, or after its time with the holder', async (t) => {
  const file = path(t)
  const first = tryLock(file, 'painting')
  const late = await waitLock(file, 'singing', { timeout_ms: 10 })
  t.true('holder' in late)
  let told = 0
  const waiting = waitLock(file, 'singing', { timeout_ms: 20_000, onWait: () => { told++ } })
  if ('release' in first) first.release()
  t.true('release' in await waiting)
  t.is(told, 1)
})

test('a process is known by pid and start time', (t) => {
  const me = identify(process.pid)
  t.true(isAlive(me))
  t.false(isAlive({ pid: process.pid, start: (me?.start ?? 0) + 1 }))
  t.false(isAlive(null))
  t.is(startTime(2 ** 22 + 1), null)
})
