import type { OverlayStatus } from '../../api/operations/overlay.ts';

/** The counters and gauges of a node's overlay in Prometheus' text format (version 0.0.4). Names of counters are the code's own: peers can add none. */
export function exposition({ running, known, links, messages_kept, bytes_kept, counters }: OverlayStatus): string {
  const gauges = [
    ['xos_overlay_up', 'gauge', '1 when this node is in the overlay.', Number(running)], ['xos_overlay_known_nodes', 'gauge', 'Nodes whose descriptors are held.', known],
    ['xos_overlay_links', 'gauge', 'Links over which topics come.', links.length], ['xos_overlay_kept_messages', 'gauge', 'Messages kept for those who were away.', messages_kept],
    ['xos_overlay_kept_bytes', 'gauge', 'Bytes of those.', bytes_kept],
  ] as const;
  const events = Object.entries(counters).map(([event, count]) => `xos_overlay_events_total{event="${event}"} ${count}\n`);
  return `${gauges.map(([name, type, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`).join('')}${
    events.length === 0 ? '' : `# HELP xos_overlay_events_total What happened, by event; rejected.* was refused.\n# TYPE xos_overlay_events_total counter\n${events.join('')}`}`;
}
