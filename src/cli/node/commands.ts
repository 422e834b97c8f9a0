// Subcommands of xnode that make a machine a node; what they do is loaded when they run.
import { defineCommand, jsonOption, type Call, type Command, type OptionSpecs } from '../lib/command.ts';

const placeOptions = {
  address: { kind: 'text', value: 'ADDRESS', summary: 'how other nodes reach this one (default: the address that the route to them has)' },
  role: { kind: 'list', value: 'ROLE', summary: 'a role of this node (default: those of the installed package)' },
  timeout: { kind: 'number', value: 'N', unit: 'seconds', summary: 'how long to wait until the node is ready (default 60)', min: 1, max: 3600 },
  json: jsonOption,
} as const satisfies OptionSpecs;
const default_s = 60;

const join = defineCommand({
  name: 'join',
  summary: 'make this machine a node of a VO',
  description: [
    'Takes the token of `xvo node invite`: writes /etc/xos/node.json, starts `xosd`, and waits until members can log in here. For root. May be repeated, also after it was interrupted.',
    'A machine that boots with xos.join=TOKEN on its kernel command line does the same by itself.',
  ],
  options: placeOptions,
  arguments: [{ name: 'TOKEN', summary: 'the token; - reads it from standard input, where other users do not see it' }],
  run: async (call) => {
    const [{ joinGrid }, { thisMachine }] = await Promise.all([import('./join.ts'), import('./machine.ts')]);
    const { address, role: roles, timeout = default_s, json } = call.options;
    const token = call.args[0] === '-' ? await standardInput() : call.args[0]!;
    const status = await joinGrid(thisMachine(call.env), call as Call, token, { address, roles, timeout_ms: timeout * 1000 });
    if (json) return call.json(status);
    call.out.write(`this machine is node ${status.node} of VO ${status.vo}\n`);
    if (status.state === 'degraded') call.note(`not everything is up yet: ${status.reason}`);
  },
});

const foundOptions = {
  admin: { kind: 'text', value: 'USER', summary: 'first member of the VO, who may change it' },
  'password-stdin': { kind: 'flag', summary: "read the admin's password from the first line of standard input" },
  node: { kind: 'text', value: 'NODE', summary: "id of this node (default: from the machine's name)" },
  number: { kind: 'number', value: 'N', summary: 'number of the VO, which is part of its uids; two VOs that share a machine must differ', min: 1, max: 4095, integer: true },
  ...placeOptions,
} as const satisfies OptionSpecs;

const found = defineCommand({
  name: 'found',
  summary: 'make this machine the first node of a new VO',
  description: [
    'Writes /etc/xos/node.json, starts `xosd`, founds the VO with this node as its registry, and makes USER its first member and admin. For root. May be repeated, also after it was interrupted.',
    'A machine that boots with xos.found=VO on its kernel command line does the same by itself; xos.admin=USER names the admin, whose password is then made up and shown on the console once, or taken from the credential xos.admin_password.',
  ],
  options: foundOptions,
  arguments: [{ name: 'VO', summary: 'name of the new VO' }],
  run: async (call) => {
    const [{ foundGrid }, { thisMachine }, { newPassword }] = await Promise.all([import('./found.ts'), import('./machine.ts'), import('../lib/password.ts')]);
    const { role: roles, timeout = default_s, json, 'password-stdin': fromInput, ...place } = call.options;
    const founded = await foundGrid(thisMachine(call.env), call as unknown as Call, call.args[0]!, {
      ...place, roles, timeout_ms: timeout * 1000, password: (who) => newPassword(call as unknown as Call, who, fromInput),
    });
    if (json) return call.json(founded);
    const { status, admin, root_key_file } = founded;
    call.out.write(`this machine is node ${status.node} of VO ${status.vo}, and its registry\n`);
    if (admin?.added === false) call.note(`${admin.user} is a member already; set the password with 'xvo member passwd ${status.vo} ${admin.user}'`);
    if (admin?.password != null) call.out.write(`password of ${admin.user}@${status.vo}: ${admin.password}\n`);
    if (root_key_file !== null) call.note(`move the root key '${root_key_file}' to a safe place off this machine`);
  },
});

const setup = defineCommand({
  name: 'setup',
  summary: 'do what the kernel command line says: join or found a VO',
  description: [
    'Reads xos.join=TOKEN, or xos.found=VO with xos.admin, xos.node and xos.number, and for both xos.address and xos.roles, from the kernel command line and from the credentials that systemd has for its unit `xos-setup.service`, and does as `xnode join` or `xnode found`. Without any of them it does nothing.',
  ],
  options: {},
  run: async (call) => {
    const [{ bootWords, setUpAtBoot }, { thisMachine }] = await Promise.all([import('./boot.ts'), import('./machine.ts')]);
    const done = await setUpAtBoot(thisMachine(call.env), call as Call, await bootWords(call.env));
    if (done === null) call.note('nothing on the kernel command line tells this machine to join or to found a VO');
    else call.out.write(`${done}\n`);
  },
});

const leaveOptions = { force: { kind: 'flag', summary: 'also when others need what this node keeps: it is lost' }, json: jsonOption } as const satisfies OptionSpecs;

const leave = defineCommand({
  name: 'leave',
  summary: 'make this machine a node no more',
  description: [
    'Ends the sessions and jobs here, stops `xosd` and what it started, and removes the configuration, the key and everything that this machine kept of the VO. For root. Afterwards it may join again, or another VO.',
    'A node that keeps something for others (files, names of files, the registry) leaves with --force only. The VO goes on listing it: an admin puts it out with `xvo node revoke`.',
  ],
  options: leaveOptions,
  run: async (call) => {
    const [{ leaveGrid }, { thisMachine }] = await Promise.all([import('./leave.ts'), import('./machine.ts')]);
    const left = await leaveGrid(thisMachine(call.env), call as unknown as Call, call.options.force);
    if (call.options.json) return call.json(left);
    call.out.write(left.vo === null ? 'this machine is told no more to be a node\n' : `this machine was node ${left.node} of VO ${left.vo}, and is no more\n`);
    if (left.vo !== null) call.note(`the VO still lists it; on its registry: xvo node revoke ${left.vo} ${left.node}`);
  },
});

async function standardInput(): Promise<string> {
  const { text } = await import('node:stream/consumers');
  return (await text(process.stdin)).trim();
}

export const setUpCommands: readonly Command[] = [join, found, leave, setup] as unknown as readonly Command[];
