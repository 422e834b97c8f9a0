// xgrid exec: a full login without a terminal; streams, arguments and the way it ended are the command's own.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 2, users: ['bob'] })

test.serial('the session is that of the member, the same on every node', async (t) => {
  const [here, there] = await Promise.all(['n1', 'n2'].map((node) => grid.exec('id; pwd; echo $HOME $USER', { node })))
  t.regex(here?.stdout ?? '', /^uid=1879113729\(alice@demo\) gid=1879113729\(alice@demo\) .*members@demo/)
  t.regex(here?.stdout ?? '', /\n\/home\/alice\n\/home\/alice alice@demo\n$/)
  t.is(there?.stdout, here?.stdout, there?.stderr)
  t.regex((await grid.exec('id -u', { user: 'bob@demo' })).stdout, /^18791137\d\d\n$/)
})

test.serial('status, signals and a command that is not there', async (t) => {
  t.is((await grid.exec('exit 7')).status, 7)
  t.is((await grid.exec('kill -TERM $$')).status, 143)
  t.is((await grid.exec('kill -9 $$')).status, 137)
  t.is((await grid.exec(['xos-no-such-command'])).status, 127)
})

test.serial('arguments with blanks, newlines and nothing arrive as they are', async (t) => {
  const args = ['a b', 'c\nd', '', '--', '-x', '$HOME', "'\"\\", 'ü']
  t.deepEqual((await grid.exec(['printf', '%s\\0', ...args])).stdout.split('\0').slice(0, -1), args)
})

test.serial('streams are apart, and input of some megabytes comes through a pipe', async (t) => {
  const { stdout, stderr } = await grid.exec('cat; echo aside >&2', { input: 'line\n'.repeat(400_000) })
  t.is(stdout.length, 2_000_000)
  t.is(stderr, 'aside\n')
})

test.serial('what is killed outside is gone inside, and no session stays', async (t) => {
  const running = grid.startExec('echo begun; exec xlocal sleep 1000')
  await running.seen(/begun/)
  running.kill('SIGTERM')
  await running.finished
  await grid.until('the sleep is gone', async () => (await grid.root('n1', 'pgrep -x sleep')).status === 1)
  await grid.until('the session is closed', async () => (await grid.status()).nodes[0]?.sessions === 0)
  t.pass()
})
