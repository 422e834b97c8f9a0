import test from 'ava';
import { commonExitStatus, defineCommand, jsonOption, type Command } from '../../../src/cli/lib/command.ts';
import { capture } from './capture.ts';

const command = defineCommand({
  name: 'xdemo', summary: 'show what the library does', description: ['Prints its arguments. See `xos`.'],
  options: {
    json: jsonOption,
    node: { kind: 'text', value: 'NODE', summary: 'the node', short: 'n' },
    mode: { kind: 'text', value: 'MODE', summary: 'how', choices: ['fast', 'safe'] },
    wait: { kind: 'number', value: 'N', unit: 'seconds', min: 1, max: 60, summary: 'how long to wait', integer: true },
    with: { kind: 'list', value: 'NAME', summary: 'one more' },
  },
  arguments: [{ name: 'JOB', summary: 'a job', repeated: true }],
  rest: { name: 'CMD…', summary: 'a command' },
  examples: [{ text: 'show it', line: 'xdemo n1-1' }],
  exitStatus: commonExitStatus, seeAlso: [['xps', 1]],
  run: async (call) => call.json({ ...call.options, args: call.args, rest: call.rest }),
});

test('options arrive under their names with their types', async (t) => {
  const { status, out } = await capture(command as Command, ['-n', 'n2', '--mode=safe', '--wait', '5', '--with', 'a', '--with', 'b', 'n1-1', 'n1-2', '--', 'ls', '--all']);
  t.is(status, 0);
  t.deepEqual(JSON.parse(out), {
    json: false, node: 'n2', mode: 'safe', wait: 5, with: ['a', 'b'], args: ['n1-1', 'n1-2'], rest: ['ls', '--all'],
  });
});

const usage = test.macro({
  title: (_given, argv: readonly string[]) => `usage error for ${JSON.stringify(argv)}`,
  exec: async (t, argv: readonly string[], message: string) => {
    t.deepEqual(await capture(command as Command, argv), { status: 2, out: '', err: `xdemo: ${message}\nTry 'xdemo --help'.\n` });
  },
});
test(usage, [], 'argument JOB is missing: a job');
test(usage, ['--colour', 'n1-1'], "unknown option '--colour'");
test(usage, ['n1-1', '--node'], "option '-n, --node' needs a value");
test(usage, ['n1-1', '--json=yes'], "option '--json' takes no value");
test(usage, ['n1-1', '--mode', 'loose'], "option '--mode' is 'loose': it must be one of fast, safe");
test(usage, ['n1-1', '--wait', '0'], "option '--wait' is '0': it must be a whole number of seconds, at least 1, at most 60");
test(usage, ['n1-1', '--wait', '1.5'], "option '--wait' is '1.5': it must be a whole number of seconds, at least 1, at most 60");
test(usage, ['n1-1', '--wait', ''], "option '--wait' is '': it must be a whole number of seconds, at least 1, at most 60");

test('an error with a code of ours is told as it is, with status 1', async (t) => {
  const failing = defineCommand({
    ...command, arguments: [], run: async () => { throw Object.assign(new Error("cannot stop job 'n1-1': it has ended"), { code: 'XOS_NO_JOB' }); },
  });
  t.deepEqual(await capture(failing as Command, []), { status: 1, out: '', err: "xdemo: cannot stop job 'n1-1': it has ended\n" });
});

test('an error without a code is called internal; XOS_DEBUG adds the place', async (t) => {
  const failing = defineCommand({ ...command, arguments: [], run: async () => { throw new TypeError('x is undefined'); } });
  t.is((await capture(failing as Command, [])).err, 'xdemo: internal error: x is undefined\n');
  t.regex((await capture(failing as Command, [], { env: { XOS_DEBUG: '1' } })).err, /main\.test\.ts/);
});

test('an interrupted command ends with 130 and says nothing', async (t) => {
  const controller = new AbortController();
  const waiting = defineCommand({
    ...command, arguments: [],
    run: (call) => new Promise<void>((_resolve, reject) => call.signal.addEventListener('abort', () => reject(call.signal.reason as Error))),
  });
  const running = capture(waiting as Command, [], { signal: controller.signal });
  controller.abort();
  t.deepEqual(await running, { status: 130, out: '', err: '' });
});

test('a subcommand is found by the longest name; an unknown one is refused with the known', async (t) => {
  const leaf = (name: string): Command => ({
    name, summary: name, description: [], options: {}, arguments: [{ name: 'VO', summary: 'the VO', optional: true }],
    run: async (call) => void call.out.write(`${name} ${call.args.join()}`),
  });
  const root: Command = { name: 'xtree', summary: 'tree', description: [], options: {}, subcommands: [leaf('member'), leaf('member add'), leaf('create')] };
  t.is((await capture(root, ['member', 'add', 'demo'])).out, 'member add demo');
  t.is((await capture(root, ['member', 'demo'])).out, 'member demo');
  t.is((await capture(root, ['destroy'])).err, "xtree: unknown subcommand 'destroy': there are member, member add, create\nTry 'xtree --help'.\n");
  t.is((await capture(root, [])).status, 2);
  t.regex((await capture(root, ['--help'])).out, /^Usage: xtree SUBCOMMAND …\n/);
  t.regex((await capture(root, ['create', '--help'])).out, /^Usage: xtree create \[VO\]\n/);
});

test('--help shows every option once, within the width', async (t) => {
  const { status, out } = await capture(command as Command, ['--help'], { columns: 60 });
  t.is(status, 0);
  for (const option of ['--json', '--node NODE', '--mode MODE', '--wait N', '--with NAME', '--help', '--version']) {
    t.is(out.split('Options:')[1]?.split(`${option} `).length, 2, option);
  }
  t.true(out.split('\n').slice(1).every((line) => line.length <= 60 || line.startsWith('      ')));
});

test('--version names the command and the release', async (t) => {
  t.regex((await capture(command as Command, ['--version'])).out, /^xdemo \(XtreemOS\) \d+\.\d+\.\d+\n$/);
});
