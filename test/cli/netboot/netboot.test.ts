import test from 'ava';
import { mkdtemp, rm, writeFile, readFile } from 'node:fs/promises';
import { systemDisk } from '../../../src/platform/disk.ts';
import { bootScript } from '../../../src/cli/netboot/script.ts';
import { dnsmasqConfiguration } from '../../../src/cli/netboot/dnsmasq.ts';
import { machineAt, nodeOf } from '../../../src/cli/netboot/machine.ts';
import { parseMac, parseSettings } from '../../../src/cli/netboot/settings.ts';
import { foundGrid } from '../../../src/cli/node/found.ts';
import { joinGrid } from '../../../src/cli/node/join.ts';
import { testMachine } from '../node/machine.ts';

const mac = '52:54:00:00:00:0a';
const other = '52:54:00:00:00:0b';
const arp = `IP address HW type Flags HW address Mask Device\n10.9.0.100 0x1 0x2 ${mac} * eth1\n10.9.0.101 0x1 0x2 ${other} * eth1\n10.9.0.102 0x1 0x0 00:00:00:00:00:00 * eth1\n`;
const leases = `1 ${mac} 10.9.0.100 * 01\n1 ${mac} 10.9.0.101 * 01\n`;
const settings = parseSettings(JSON.stringify({ interface: 'eth1', address: '10.9.0.1', nodes: { [mac]: 'c7' } }));

test('settings are checked before they reach the configuration of another program', (t) => {
  t.deepEqual(settings.range, ['10.9.0.100', '10.9.0.250']);
  t.deepEqual(settings.roles, ['relay', 'mount']);
  for (const [change, message] of [
    [{ interface: 'eth1\nport=53' }, /'interface' must be/], [{ address: 'fe80::1' }, /'address' must be an IPv4/], [{ image: '/srv/a b' }, /'image' must be/],
    [{ nodes: { xx: 'c1' } }, /no MAC address/], [{ nodes: { [mac]: 'C 1' } }, /node id/], [{ nodes: { [mac]: 'c1', [other]: 'c1' } }, /same node id/], [{ any: -1 }, /'any' must be/], [{ range: ['a', 'b'] }, /'range'/],
  ] as const) t.throws(() => parseSettings(JSON.stringify({ interface: 'eth1', address: '10.9.0.1', ...change })), { message }, JSON.stringify(change));
  t.is(parseMac('52-54-00-AB-CD-EF'), '52:54:00:ab:cd:ef');
  t.regex(dnsmasqConfiguration(settings, { tftp: '/t', leases: '/l' }), /^port=0\ninterface=eth1\n(?:.*\n)*dhcp-boot=tag:ipxe,http:\/\/10\.9\.0\.1:7080\/cgi-bin\/boot\n$/);
});

test('a machine is whom kernel and DHCP server agree on, whatever it says', (t) => {
  t.is(machineAt('10.9.0.100', arp, leases), mac);
  t.throws(() => machineAt('10.9.0.101', arp, leases), { message: new RegExp(`given to machine '${mac}', and '${other}' uses it`) });
  t.throws(() => machineAt('10.9.0.102', arp, leases), { message: /not given to any/ });
  t.throws(() => machineAt('10.9.0.10', arp, leases), { message: /not given to any/ });
});

test('machines that nobody listed are taken in up to the number, under names that stay', (t) => {
  t.deepEqual(nodeOf(mac, settings, {}), { node: 'c7', isNew: false });
  t.throws(() => nodeOf(other, settings, {}), { message: /not listed; let it in with 'xnetboot add/ });
  const open = { ...settings, nodes: { [mac]: 'c1' }, any: 1 };
  t.deepEqual(nodeOf(other, open, {}), { node: 'c2', isNew: true });
  t.deepEqual(nodeOf(other, open, { [other]: 'c2' }), { node: 'c2', isNew: false });
  t.throws(() => nodeOf('52:54:00:00:00:0c', open, { [other]: 'c2' }), { message: /1 others were taken in already/ });
});

test('a machine boots with a token that works, and again after it lost its key', async (t) => {
  const head = await testMachine(t, 'n1');
  await foundGrid(head.machine, head.call, 'demo', { node: 'n1', address: '127.0.0.1', roles: ['registry'], timeout_ms: 30_000, password: async () => ({ password: 'unused', made: null }) });
  const folder = await mkdtemp('/tmp/xos-netboot-');
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const files = { arp: `${folder}/arp`, leases: `${folder}/leases`, remembered: `${folder}/nodes.json` };
  await writeFile(files.arp, arp);
  await writeFile(files.leases, leases);
  const open = { ...settings, image: folder, nodes: {}, any: 1 };
  t.regex(await bootScript(head.call, open, '10.9.0.100', files, systemDisk), /^#!ipxe\necho XtreemOS: this machine is not booted: there is no image/);
  await writeFile(`${folder}/cmdline`, 'xos.root=1 quiet\n');
  for (const boot of [1, 2]) {
    const text = await bootScript(head.call, open, '10.9.0.100', files, systemDisk);
    const token = /^kernel http:\/\/10\.9\.0\.1:7080\/image\/linux .* xos\.root=1 quiet xos\.join=(\S+) xos\.roles=relay,mount$/m.exec(text)?.[1];
    t.truthy(token, text);
    const node = await testMachine(t, `boot${boot}`, { roles: ['relay'] });
    t.is((await joinGrid(node.machine, node.call, token!, { address: '127.0.0.1', roles: ['relay'], timeout_ms: 30_000 })).node, 'c1');
    await node.kill();
  }
  t.deepEqual(JSON.parse(await readFile(files.remembered, 'utf8')), { [mac]: 'c1' });
  t.regex(await bootScript(head.call, open, '10.9.0.101', files, systemDisk), /not booted: .*uses it/);
});
