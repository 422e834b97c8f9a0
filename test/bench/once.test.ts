import test from 'ava'
import { once } from './once.ts'

test('what is asked for twice is made once', async (t) => {
  let made = 0
  const get = once(async () => ++made)
  t.deepEqual(await Promise.all([get(), get()]), [1, 1])
})

test('a failure is remembered', async (t) => {
  let tried = 0
  const get = once(async () => { throw new Error(`try ${++tried}`) })
  await t.throwsAsync(get(), { message: 'try 1' })
  await t.throwsAsync(get(), { message: 'try 1' })
})
