import type { NodeContext } from '../../daemon/context.ts';
import { describe } from '../../core/errors.ts';
import type { HttpAnswer, Listener } from '../../core/ports.ts';
import { MonitorServiceDefinition, type MonitorReply, type ServerMetrics } from '../../proto/xos/volume/v1/volume.ts';
import type { FileSystemMetrics } from '../../api/operations/volume.ts';
import type { Directory } from '../directory.ts';
import { limits } from '../limits.ts';

/** Roles of the file system whose servers are daemons of their own. */
const daemons = ['mrc', 'osd', 'mount'] as const;
const metrics_type = 'text/plain; version=0.0.4; charset=utf-8';

/** gRPC Read: the servers of this node that belong to the file system, each asked over its control socket. */
export async function readHere(context: NodeContext, directory: Directory | null, signal: AbortSignal): Promise<MonitorReply> {
  const asked = daemons.filter((name) => context.roles.includes(name)).map(async (name): Promise<ServerMetrics> => {
    try {
      const { text } = await context.native[name].request<{ text?: unknown }>('metrics', {}, { signal, timeout_ms: limits.monitor_deadline_ms });
      return { server: name, up: true, text: String(text ?? ''), reason: '' };
    } catch (thrown) {
      return { server: name, up: false, text: '', reason: describe(thrown) };
    }
  });
  const dir = directory === null ? [] : [{ server: 'dir', up: true, text: directory.metrics(), reason: '' }];
  return { servers: [...dir, ...await Promise.all(asked)] };
}

/** xosd.sock `volume-metrics`: every node of the VO that has a part in the file system; anyone may ask (there are no names of files in it). */
export async function readAll(context: NodeContext, signal: AbortSignal): Promise<FileSystemMetrics> {
  const nodes = context.members.admitted().filter(({ roles }) => roles.some((role) => role === 'dir' || daemons.some((name) => name === role)));
  return {
    nodes: await Promise.all(nodes.map(async ({ node }) => {
      try {
        const { servers } = await context.rpc.client(node, MonitorServiceDefinition).read({}, { deadline_ms: limits.monitor_deadline_ms + limits.report_deadline_ms, signal });
        return { node, reason: null, servers: servers.map(({ server, up, text, reason }) => ({ server, text: up ? text : null, reason })) };
      } catch (thrown) {
        signal.throwIfAborted();
        return { node, reason: describe(thrown), servers: [] };
      }
    })),
  };
}

/** Serves http://127.0.0.1:PORT/metrics. A port that is taken is no reason for a node not to start: that is logged, and null returned. */
export async function serveMetrics(context: NodeContext, directory: Directory | null, port: number): Promise<(Listener & { readonly port: number }) | null> {
  try {
    return await context.ports.network.listenHttp(port, async (path, signal) => (path === '/metrics' ? await exposition(context, directory, signal) : null));
  } catch (thrown) {
    context.ports.log.warn("the file system's metrics are not served; set another port with 'metrics' in node.json", { port, reason: describe(thrown) });
    return null;
  }
}

async function exposition(context: NodeContext, directory: Directory | null, signal: AbortSignal): Promise<HttpAnswer> {
  const { servers } = await readHere(context, directory, signal);
  const up = servers.map(({ server, up: is }) => `xos_server_up{server="${server}"} ${is ? 1 : 0}\n`).join('');
  return { type: metrics_type, body: `# HELP xos_server_up 1 for a server of the file system on this node that answers.\n# TYPE xos_server_up gauge\n${up}${servers.map(({ text }) => text).join('')}${context.provided.overlay?.exposition() ?? ''}` };
}
