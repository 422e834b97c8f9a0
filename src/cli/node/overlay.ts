import { ask } from '../lib/api.ts';
import { defineCommand, jsonOption, type Call, type OptionSpecs } from '../lib/command.ts';
import { formatTable, tableWidth } from '../lib/table.ts';
import { formatBytes } from '../lib/units.ts';

const options = { json: jsonOption } as const satisfies OptionSpecs;

export const overlay = defineCommand({
  name: 'overlay',
  summary: "show this node's part of the overlay, and what it refused",
  description: [
    'Shows how many nodes this one knows, over which links topics come, and what is kept for those who were away. Then what was refused since xosd started, by reason: descriptors that are forged, stale or of nodes that are not in the VO, messages that are malformed, oversized or replayed, peers that flood.',
    'Some stale and refused ones are no sign of trouble: nodes pass on what they know of each other, and some know less. A number that keeps growing by much is.',
    'The same counters, and those of what was sent, are at http://127.0.0.1:7005/metrics for Prometheus, and in --json.',
  ],
  options,
  examples: [{ text: 'is somebody flooding us', line: "xnode overlay --json | jq '.counters | with_entries(select(.key | endswith(\"flood\")))'" }],
  run: async (call) => {
    const status = await ask(call as unknown as Call, 'overlay-status', {});
    if (call.options.json) return call.json(status);
    call.out.write(`node ${status.node} ${status.running ? 'is in the overlay' : `is not in the overlay yet: ${status.reason}`}\n`);
    call.out.write(`knows ${status.known} nodes, has links to ${status.links.length === 0 ? 'none' : status.links.join(' ')}\n`);
    call.out.write(`keeps ${status.messages_kept} messages (${formatBytes(status.bytes_kept).trim()}) of ${status.publishers} publishers, for ${status.subscriptions} subscriptions here and for others\n`);
    const refused = Object.entries(status.counters).filter(([name, count]) => name.startsWith('rejected.') && count > 0);
    if (refused.length === 0) return call.note('nothing was refused');
    call.out.write(formatTable([{ title: 'REFUSED', value: ([name]) => name.slice('rejected.'.length) }, { title: 'COUNT', value: ([, count]) => `${count}`, align: 'right' }], refused, tableWidth(call.out)));
  },
});
