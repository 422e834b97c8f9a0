#!/usr/lib/xos/bin/node
import { commonExitStatus, defineCommand, type Call, type Command } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';

const files = { arp: '/proc/net/arp', leases: '/var/lib/xos/netboot/leases', remembered: '/var/lib/xos/netboot/nodes.json' } as const;

const up = defineCommand({
  name: 'up',
  summary: 'boot machines on a network of this head',
  description: [
    'Writes /etc/xos/netboot.json and starts the services: addresses and boot loader from dnsmasq, the image by HTTP. The interface has to have ADDRESS already, and the network has to be one where nobody else gives addresses.',
    'For root, on the node of the registry: a machine that boots joins the VO under its name by a token that this head makes for it.',
  ],
  options: {
    interface: { kind: 'text', value: 'NAME', summary: 'interface of the boot network' },
    address: { kind: 'text', value: 'ADDRESS', summary: "this head's IPv4 address there" },
    image: { kind: 'text', value: 'FOLDER', summary: 'where a cluster image (xtreemos-cluster-VERSION.netboot.tar) is unpacked (default /srv/xos/netboot)', complete: 'directory' },
    any: { kind: 'number', value: 'N', summary: 'take in up to N machines that are not listed, named c1, c2, … (default 0)', min: 0, max: 4096, integer: true },
  },
  run: async (call) => {
    const { netbootUp } = await import('./netboot/up.ts');
    await netbootUp(call as unknown as Call, call.options);
  },
});

const add = defineCommand({
  name: 'add',
  summary: 'let a machine boot, as a node of this name',
  description: [],
  options: {},
  arguments: [{ name: 'MAC', summary: 'address of its network card' }, { name: 'NODE', summary: 'id of its node' }],
  run: async (call) => {
    const { netbootAdd } = await import('./netboot/up.ts');
    await netbootAdd(call as Call, call.args[0]!, call.args[1]!);
  },
});

const prepare = defineCommand({
  name: 'prepare',
  summary: 'write what the services need below /run/xos/netboot',
  description: ['For xos-netboot.service.'],
  options: {},
  run: async () => {
    const { netbootPrepare } = await import('./netboot/up.ts');
    await netbootPrepare(files.leases);
  },
});

const script = defineCommand({
  name: 'script',
  summary: 'print the boot script for a machine',
  description: ['For the HTTP service of xos-netboot: a CGI program that gives the machine at REMOTE_ADDR its script for iPXE.'],
  options: {},
  environment: [{ name: 'REMOTE_ADDR', summary: 'Address of the machine.' }],
  run: async (call) => {
    const [{ bootScript }, { readSettings }, { systemDisk }] = await Promise.all([import('./netboot/script.ts'), import('./netboot/settings.ts'), import('../platform/disk.ts')]);
    const settings = await readSettings(systemDisk);
    // busybox httpd shows a peer as it does IPv6.
    const address = (call.env['REMOTE_ADDR'] ?? '').replace(/^\[?::ffff:/, '').replace(/\]?(?::\d+)?$/, '');
    call.out.write('Content-Type: text/plain\r\n\r\n');
    if (settings !== null) call.out.write(await bootScript(call as Call, settings, address, files, systemDisk));
  },
});

export const command = defineCommand({
  name: 'xnetboot',
  section: 8,
  summary: 'boot the nodes of a cluster over the network',
  description: [
    'Makes this node the head of a cluster: machines on its boot network start the cluster image without a disk, and join the VO by themselves.',
    'Who may boot is decided by the address of the network card. That is no proof: whoever has a cable in the boot network can pretend one, and take the place of a node. Keep that network to the machines of the cluster.',
  ],
  options: {},
  subcommands: [up, add, prepare, script] as unknown as readonly Command[],
  examples: [{ text: 'boot whatever is on eth1, at most 16 machines', line: 'xnetboot up --interface eth1 --address 10.9.0.1 --any 16' }],
  exitStatus: commonExitStatus,
  files: [{ name: '/etc/xos/netboot.json', summary: 'The boot network, and the machines by their addresses.' }, { name: files.remembered, summary: 'Names given to machines that nobody listed.' }],
  seeAlso: [['xnode', 1], ['xvo', 8], ['xos', 7]],
});

await runIfMain(import.meta, command);
