// n1 | n2: the cable of n2 is pulled and put back; the node itself goes on.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 2 })
const reaches = async (from: string, to: string): Promise<boolean> => (await grid.root(from, `ping -c1 -W1 ${to} >/dev/null 2>&1`)).status === 0

test.serial('a node that is cut off runs but reaches nobody', async (t) => {
  t.true(await reaches('n1', 'n2'))
  t.is((await grid.xgrid(['cut', 'n2'])).status, 0)
  t.false(await reaches('n1', 'n2'))
  t.false(await reaches('n2', 'n1'))
  const seen = await grid.status()
  t.deepEqual(seen.nodes.map(({ state }) => state), ['ready', 'cut'])
  t.regex(seen.nodes[1]?.reason ?? '', /xgrid heal n2/)
  t.is((await grid.root('n2', 'hostname')).stdout, 'n2\n')
  t.is((await grid.xgrid(['cut', 'n2'])).status, 1)
})

test.serial('healed, it is part of the grid again', async (t) => {
  t.is((await grid.xgrid(['heal', 'n2'])).status, 0)
  await grid.until('n2 is reached', () => reaches('n1', 'n2'))
  await grid.until('the grid is whole', async () => (await grid.status()).state === 'up')
  t.is((await grid.exec('echo back', { node: 'n2' })).stdout, 'back\n')
})
