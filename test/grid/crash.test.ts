// n1 (registry), n2, n3. A node that crashes is dead at once, and comes back with its disk.
import test from 'ava'
import { readFileSync } from 'node:fs'
import { gridFor } from './support/grid.ts'
import { namespaces, nodeRecord, processesIn } from './support/processes.ts'

const grid = gridFor(test, { nodes: 3 })

test.serial('a crash ends every process of the node and no other', async (t) => {
  await grid.root('n2', 'echo kept > /var/lib/xos/kept; echo lost > /root/lost')
  const [n2, n3] = [namespaces(nodeRecord(grid.name, 'n2').init.pid), namespaces(nodeRecord(grid.name, 'n3').init.pid)]
  t.is((await grid.xgrid(['crash', 'n2'])).status, 0)
  const left = processesIn(n2)
  t.deepEqual(left, [], left.map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8')).join('\n'))
  t.true(processesIn(n3).length > 0)
  const seen = await grid.status()
  t.is(seen.state, 'partly')
  t.deepEqual(seen.nodes.map(({ state }) => state), ['ready', 'crashed', 'ready'])
})

test.serial('what needs the node says that it is down', async (t) => {
  for (const args of [['exec', '--node', 'n2', 'alice@demo', '--', 'true'], ['crash', 'n2'], ['cut', 'n2'], ['shell', 'n2', '--', 'true']]) {
    const { status, stderr } = await grid.xgrid(args)
    t.is(status, 1, args.join(' '))
    t.regex(stderr, /crashed/)
  }
})

test.serial('its logs are still there', async (t) => {
  const { status, stdout } = await grid.xgrid(['logs', 'n2'])
  t.is(status, 0)
  t.regex(stdout, /==> .*\/n2\/log\/xosd\/current <==/)
})

test.serial('it boots again, with its disk and without what was not on it', async (t) => {
  const { status, stderr } = await grid.xgrid(['add', 'n2'], { timeout_ms: 120_000 })
  t.is(status, 0, stderr)
  t.is((await grid.root('n2', 'cat /var/lib/xos/kept; ls /root/lost')).stdout, 'kept\n')
  t.is((await grid.status()).state, 'up')
  t.is((await grid.exec('hostname', { node: 'n2' })).stdout, 'n2\n')
})

test.serial('the registry node comes back as well', async (t) => {
  t.is((await grid.xgrid(['crash', 'n1'])).status, 0)
  const { status, stderr } = await grid.xgrid(['up', '--detach'], { timeout_ms: 120_000 })
  t.is(status, 0, stderr)
  await grid.until('all nodes are ready', async () => (await grid.status()).state === 'up')
  t.is((await grid.exec('id -un', { node: 'n3' })).stdout, 'alice@demo\n')
})
