import { parseNetwork, type NetworkRule } from './network.ts';
import type { Effective } from './policy.ts';

export interface FirewallOptions {
  readonly vo: string;
  /** Control group of the VO, below the mount point: `xos.slice/xos-demo.slice`. */
  readonly group: string;
  /** Ports of the grid's own services, which the VO's programs reach through our sockets only. */
  readonly service_ports: readonly number[];
}

/**
 * Rules for nft(8) that put table `inet xos` in the place of the one before, in one transaction, and touch no other table. A packet is the
 * VO's by the control group of its socket, so what goes out is looked at; answers of
 * TCP to what came in pass.
 */
export function firewallRules(effective: Effective, options: FirewallOptions): string {
  const chain = `vo_${options.vo.replaceAll('-', '_')}`;
  const deny = effective.deny.map((text) => `    ${match(text)} counter reject with icmpx admin-prohibited`);
  const allow = effective.allow.map((list, index) => ({ name: `${chain}_allow_${index}`, rules: [...list.map((text) => `    ${match(text)} return`), '    counter reject with icmpx admin-prohibited'] }));
  return [
    'table inet xos',
    'delete table inet xos',
    'table inet xos {',
    ...allow.flatMap(({ name, rules }) => [`  chain ${name} {`, ...rules, '  }']),
    `  chain ${chain} {`,
    // Only what begins a connection; connection tracking would do this too, and cost every packet of the node.
    '    tcp flags & (syn | ack) != syn return',
    `    tcp dport { ${options.service_ports.join(', ')} } counter reject with tcp reset`,
    '    oifname "lo" return',
    ...deny,
    ...allow.map(({ name }) => `    jump ${name}`),
    '  }',
    '  chain output {',
    '    type filter hook output priority filter; policy accept;',
    `    socket cgroupv2 level ${options.group.split('/').length} "${options.group}" jump ${chain}`,
    '  }',
    '}',
    '',
  ].join('\n');
}

function match(text: string): string {
  const { family, address, ports }: NetworkRule = parseNetwork(text)!; // policies hold what it gave
  return [address === null ? '' : `${family} daddr ${address}`, ports === null ? '' : `meta l4proto { tcp, udp } th dport ${ports}`].filter((part) => part !== '').join(' ');
}
