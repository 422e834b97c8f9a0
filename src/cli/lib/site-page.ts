import { policy_keys, policy_rules } from '../../isolation/policy.ts';
import type { Page } from './man.ts';

const plain = (text: string): string => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^[.']/, '\\&$&');

/** xos-site(5): the file of a node's owner, with every policy that there is. */
export const site: Page = {
  name: 'xos-site', section: 5, summary: 'what the owner of a node grants to virtual organisations',
  seeAlso: [['xnode', 1], ['xvo', 8], ['xos', 7]],
  body: [
    '.Sh DESCRIPTION',
    'What the jobs of a virtual organisation (VO) may have on a node is said by two sides: by the VO, with',
    '.Xr xvo 8 ,',
    'and by the owner of the node, in',
    '.Pa /etc/xos/site.json .',
    'Of both wishes the narrower one holds.',
    'The file is JSON with the field',
    '.Li vo :',
    'an object that has policies for each VO by its name, and for every VO under',
    '.Li * ;',
    'what stands under the name goes before that.',
    'It is read again within ten seconds of a change; one that cannot be read is reported and leaves the one before in force.',
    '.Pp',
    '.Li xnode limits',
    'shows what holds and who decided.',
    'Limits of processor, memory, processes, disk and network need cgroup v2; under systemd the VO is',
    '.Li xos\\-VO.slice ,',
    'shown by',
    '.Xr systemd\\-cgls 1 .',
    '.Sh POLICIES',
    '.Bl -tag -width Ds',
    ...policy_keys.flatMap((key) => [`.It Li ${plain(key)}`, `${plain(policy_rules[key].summary)}: ${plain(policy_rules[key].rule)}.`, ...(policy_rules[key].narrower === null ? [] : [`By default ${plain(policy_rules[key].fallback)}.`])]),
    '.El',
    '.Sh FILES',
    '.Bl -tag -width Ds',
    '.It Pa /etc/xos/site.json',
    'The policy of the owner.',
    '.El',
    '.Sh EXAMPLES',
    '.Bd -literal',
    '{"vo": {',
    '  "*":    {"pids.max": 4096, "memory.max": "4G", "trust": "untrusted"},',
    '  "demo": {"cpu.weight": 900, "memory.max": "16G", "trust": "trusted", "firewall.deny": ["*:25", "10.0.0.0/8"]}',
    '}}',
    '.Ed',
  ],
};
