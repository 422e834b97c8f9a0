import test from 'ava'
import { Shell, lasting } from './shell.ts'

test('scripts run one after the other in one shell', async (t) => {
  const shell = await Shell.open(['bash'], 'bash')
  t.teardown(() => shell.close())
  const first = await shell.sh('echo out; echo err >&2; echo $PPID')
  t.regex(first.stdout, /^out\n/)
  t.is((await shell.sh('cat; echo $PPID')).stdout, first.stdout.slice(4), 'the same shell, and no input for a script')
})

test('a script that fails is told with its status and what it said', async (t) => {
  const shell = await Shell.open(['bash'], 'bash')
  t.teardown(() => shell.close())
  t.is((await shell.sh('exit 3', { mayFail: true })).status, 3)
  await t.throwsAsync(shell.sh('echo no such thing >&2; false'), { code: 'XOS_BENCH_SHELL', message: /status 1: no such thing/ })
  t.is((await shell.sh('true')).status, 0)
})

test('a script that hangs ends with its shell', async (t) => {
  const shell = await Shell.open(['bash'], 'bash')
  t.teardown(() => shell.close())
  await t.throwsAsync(shell.sh('sleep 60', { timeout_ms: 100 }), { code: 'XOS_BENCH_SHELL', message: /did not end within 100 ms/ })
  await t.throwsAsync(shell.sh('true'), { code: 'XOS_BENCH_SHELL' })
})

test('a shell that cannot start says why', async (t) => {
  await t.throwsAsync(Shell.open(['bash', '-c', 'echo wrong password >&2; exit 4'], 'session'), { message: /status 4: wrong password/ })
})

test('a lasting shell is one shell, until it ends', async (t) => {
  const open: Shell[] = []
  t.teardown(() => Promise.all(open.map((shell) => shell.close())))
  const get = lasting(async () => {
    const shell = await Shell.open(['bash'], 'bash')
    open.push(shell)
    return shell
  })
  t.is(await get(), await get())
  await t.throwsAsync((await get()).sh('kill -HUP $$'), { message: /SIGHUP/ })
  t.regex((await (await get()).sh('echo again')).stdout, /again/)
  t.is(open.length, 2)
})

test('a lasting shell that cannot be opened says why each time', async (t) => {
  const get = lasting(() => Shell.open(['bash', '-c', 'echo no grid >&2; exit 1'], 'session'))
  await t.throwsAsync(get(), { message: /no grid/ })
  await t.throwsAsync(get(), { message: /no grid/ })
})
