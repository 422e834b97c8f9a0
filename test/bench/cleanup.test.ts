import test from 'ava'
import { Cleanup } from './cleanup.ts'

test('what was acquired last is released first', async (t) => {
  const order: string[] = []
  const cleanup = new Cleanup()
  cleanup.add('a', () => { order.push('a') })
  cleanup.add('b', async () => { order.push('b') })
  await cleanup.close()
  t.deepEqual(order, ['b', 'a'])
})

test('closing twice at once releases once', async (t) => {
  let released = 0
  const cleanup = new Cleanup()
  cleanup.add('a', async () => { released++ })
  await Promise.all([cleanup.close(), cleanup.close()])
  await cleanup.close()
  t.is(released, 1)
})

test('what was released by hand is not released again', async (t) => {
  let released = 0
  const cleanup = new Cleanup()
  const release = cleanup.add('a', () => { released++ })
  await release()
  await release()
  await cleanup.close()
  t.is(released, 1)
})
