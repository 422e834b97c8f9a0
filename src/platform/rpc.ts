import * as grpc from '@grpc/grpc-js';
import { connect, type SecureContextOptions } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { XosError, asXosError, describe } from '../core/errors.ts';
import { nodeHost, parseUri } from '../core/ids.ts';
import { limits } from '../core/limits.ts';
import type { Clock, Log } from '../core/ports.ts';
import type { MethodDefinition, PeerIdentity, Rpc, RpcCall, RpcClient, RpcHandlers, RpcOptions, ServiceDefinition } from '../core/rpc.ts';

/** What a node proves itself with. PEM. */
export interface TlsIdentity {
  readonly vo: string;
  readonly node: string;
  readonly key: string;
  /** Leaf first; then the node CA as the VO's root signed it and the root, so that a joining node can follow them to its pin. */
  readonly chain: string;
  /** The node CA, trust anchor for peers. */
  readonly ca: string;
}

export interface RpcOptionsOfNode {
  readonly clock: Clock;
  readonly log: Log;
  /** Where a node's xosd listens; null when the VO has no such admitted node. */
  readonly resolve: (node: string) => { readonly address: string; readonly port: number } | null;
  /** Why a peer with a good certificate is turned away (revoked, not admitted); null lets it in. */
  readonly refuse: (peer: PeerIdentity) => XosError | null;
}

type AnyHandler = (request: never, call: RpcCall) => Promise<unknown> | AsyncIterable<unknown>;

interface Served {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, AnyHandler>>;
  readonly access: 'node' | 'anyone';
}

/**
 * A certificate is asked for but not demanded, since a node that joins has none yet; services that were not added for 'anyone' refuse a
 * caller without a verified one. grpc-js has no constructor for that, hence the subclass.
 */
class NodeServerCredentials extends grpc.ServerCredentials {
  constructor(options: SecureContextOptions) {
    super({ requestCert: true, rejectUnauthorized: false }, options);
  }
  renew(options: SecureContextOptions): void {
    this.updateSecureContextOptions(options);
  }
  override _equals(other: grpc.ServerCredentials): boolean {
    return this === other;
  }
}

const contextOptions = (identity: TlsIdentity): SecureContextOptions => ({ key: identity.key, cert: identity.chain, ca: identity.ca, minVersion: 'TLSv1.3' });

const channelOptions = (host: string): grpc.ChannelOptions => ({
  'grpc.ssl_target_name_override': host,
  'grpc.default_authority': host,
  'grpc.keepalive_time_ms': limits.rpc_keepalive_ms,
  'grpc.keepalive_timeout_ms': limits.rpc_keepalive_timeout_ms,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': limits.rpc_message_bytes_max,
  'grpc.max_send_message_length': limits.rpc_message_bytes_max,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  // Nodes of a VO are reached directly; a proxy variable of an administrator's shell is not meant for us.
  'grpc.enable_http_proxy': 0,
});

/** The one gRPC server of an xosd and its clients of the other ones, by node id. */
export class NodeRpc implements Rpc {
  readonly #options: RpcOptionsOfNode;
  readonly #served = new Map<string, Served>();
  readonly #clients = new Map<string, { client: grpc.Client; target: string }>();
  readonly #calls = new Map<string, Set<AbortController>>();
  readonly #verified = new Map<string, PeerIdentity>();
  #identity: TlsIdentity;
  #server: grpc.Server | null = null;
  #credentials: NodeServerCredentials;

  constructor(identity: TlsIdentity, options: RpcOptionsOfNode) {
    this.#identity = identity;
    this.#options = options;
    this.#credentials = new NodeServerCredentials(contextOptions(identity));
  }

  /** Renewed certificate: new connections use it, those that are up live on. */
  renew(identity: TlsIdentity): void {
    this.#identity = identity;
    this.#credentials.renew(contextOptions(identity));
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  serve<D extends ServiceDefinition>(definition: D, handlers: RpcHandlers<D>, access: 'node' | 'anyone' = 'node'): void {
    const served: Served = { definition, handlers: handlers as unknown as Served['handlers'], access };
    this.#served.set(definition.fullName, served);
    this.#server?.addService(...this.#implementation(served));
  }

  /** Binds and serves; resolves with the port (useful when it was 0). */
  async listen(address: string, port: number): Promise<number> {
    const server = new grpc.Server({
      'grpc.max_receive_message_length': limits.rpc_message_bytes_max,
      'grpc.max_send_message_length': limits.rpc_message_bytes_max,
      'grpc.keepalive_time_ms': limits.rpc_keepalive_ms,
      'grpc.keepalive_timeout_ms': limits.rpc_keepalive_timeout_ms,
      'grpc.max_concurrent_streams': 1_000,
    });
    for (const served of this.#served.values()) server.addService(...this.#implementation(served));
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync(target(address, port), this.#credentials, (cause, found) => {
        if (cause === null) resolve(found);
        else reject(new XosError('XOS_SOCKET', `cannot listen on '${address}:${port}': ${cause.message}`, { address, port }, { cause }));
      });
    });
    this.#server = server;
    return bound;
  }

  async stop(): Promise<void> {
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
    for (const calls of this.#calls.values()) for (const call of calls) call.abort(new XosError('XOS_ABORTED', 'the server stops'));
    this.#server?.forceShutdown();
    this.#server = null;
  }

  /** Ends what a node that was turned out has running here. */
  drop(node: string): void {
    for (const call of this.#calls.get(node) ?? []) call.abort(new XosError('XOS_NOT_ADMITTED', `node '${node}' was revoked`));
    this.#clients.get(node)?.client.close();
    this.#clients.delete(node);
  }

  client<D extends ServiceDefinition>(node: string, definition: D): RpcClient<D> {
    const methods: Record<string, unknown> = {};
    for (const [key, method] of Object.entries(definition.methods)) {
      if (node === this.#identity.node) methods[key] = (request: unknown, options?: RpcOptions) => this.#local(definition, key, method, request, options);
      else methods[key] = remoteMethod(() => this.#channel(node), definition, method, node, this.#options.clock);
    }
    return methods as RpcClient<D>;
  }

  #channel(node: string): grpc.Client {
    const found = this.#options.resolve(node);
    if (found === null) throw new XosError('XOS_NO_NODE', `cannot call node '${node}': VO '${this.#identity.vo}' has no such admitted node`, { node });
    const where = target(found.address, found.port);
    const known = this.#clients.get(node);
    if (known?.target === where) return known.client;
    known?.client.close();
    const { ca, key, chain, vo } = this.#identity;
    const credentials = grpc.credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(chain));
    const client = new grpc.Client(where, credentials, channelOptions(nodeHost(vo, node)));
    this.#clients.set(node, { client, target: where });
    return client;
  }

  /** A call to this node itself: same encoding, same handlers, no network. */
  #local(definition: ServiceDefinition, key: string, method: MethodDefinition, request: unknown, options: RpcOptions = {}): unknown {
    const served = this.#served.get(definition.fullName);
    const handler = served?.handlers[key];
    if (handler === undefined) throw new XosError('XOS_UNIMPLEMENTED', `this node does not serve '${definition.fullName}'`, { service: definition.fullName });
    const deadline_ms = options.deadline_ms ?? limits.rpc_deadline_ms;
    const signal = deadline_ms === 0 ? (options.signal ?? new AbortController().signal) : this.#options.clock.deadline(deadline_ms, options.signal);
    const { vo, node } = this.#identity;
    const decoded = method.requestType.decode(method.requestType.encode(request).finish());
    const copy = (message: unknown): unknown => method.responseType.decode(method.responseType.encode(message).finish());
    const call: RpcCall = { peer: { vo, node }, signal };
    if (!method.responseStream) return raceAbort((handler(decoded as never, call) as Promise<unknown>).then(copy), signal);
    return (async function* () {
      for await (const message of handler(decoded as never, call) as AsyncIterable<unknown>) yield copy(message);
    })();
  }

  #implementation(served: Served): [grpc.ServiceDefinition, grpc.UntypedServiceImplementation] {
    const definition: Record<string, grpc.MethodDefinition<unknown, unknown>> = {};
    const implementation: Record<string, grpc.UntypedHandleCall> = {};
    for (const [key, method] of Object.entries(served.definition.methods)) {
      const handler = served.handlers[key]!;
      definition[key] = grpcMethod(served.definition, method);
      implementation[key] = method.responseStream
        ? ((call: grpc.ServerWritableStream<unknown, unknown>) => void this.#serveStream(served, handler as never, call))
        : ((call: grpc.ServerUnaryCall<unknown, unknown>, callback: grpc.sendUnaryData<unknown>) => void this.#serveUnary(served, handler as never, call, callback));
    }
    return [definition, implementation];
  }

  async #serveUnary(served: Served, handler: (request: unknown, call: RpcCall) => Promise<unknown>, call: grpc.ServerUnaryCall<unknown, unknown>, callback: grpc.sendUnaryData<unknown>): Promise<void> {
    const open = this.#open(call);
    try {
      const peer = this.#peerOf(served, call);
      open.track(peer);
      callback(null, await handler(call.request, { peer, signal: open.signal }));
    } catch (thrown) {
      callback(this.#status(thrown, served));
    } finally {
      open.done();
    }
  }

  async #serveStream(served: Served, handler: (request: unknown, call: RpcCall) => AsyncIterable<unknown>, call: grpc.ServerWritableStream<unknown, unknown>): Promise<void> {
    const open = this.#open(call);
    try {
      const peer = this.#peerOf(served, call);
      open.track(peer);
      for await (const message of handler(call.request, { peer, signal: open.signal })) {
        open.signal.throwIfAborted();
        if (!call.write(message)) await new Promise<void>((resolve) => {
          call.once('drain', resolve);
          open.signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
      open.signal.throwIfAborted();
      call.end();
    } catch (thrown) {
      call.emit('error', this.#status(thrown, served));
    } finally {
      open.done();
    }
  }

  #open(call: grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerWritableStream<unknown, unknown>): { signal: AbortSignal; track(peer: PeerIdentity | null): void; done(): void } {
    const controller = new AbortController();
    let owner = '';
    call.on('cancelled', () => controller.abort(new XosError('XOS_ABORTED', 'the caller gave up')));
    return {
      signal: controller.signal,
      track: (peer) => {
        owner = peer?.node ?? '';
        let calls = this.#calls.get(owner);
        if (calls === undefined) this.#calls.set(owner, (calls = new Set()));
        calls.add(controller);
      },
      done: () => void this.#calls.get(owner)?.delete(controller),
    };
  }

  /** Who calls, by its certificate; throws when the service is for admitted nodes and the caller is none. */
  #peerOf(served: Served, call: { getAuthContext(): { sslPeerCertificate?: { raw: Buffer } }; getPeer(): string }): PeerIdentity | null {
    // grpc-js gives the certificate only when TLS verified it against our node CA.
    const raw = call.getAuthContext().sslPeerCertificate?.raw;
    if (raw === undefined) {
      if (served.access === 'anyone') return null;
      throw new XosError('XOS_NOT_ADMITTED', `caller '${call.getPeer()}' has no valid certificate of a node of VO '${this.#identity.vo}' (missing, expired, or of another VO)`, { address: call.getPeer() });
    }
    const peer = this.#identify(raw, call.getPeer());
    const refused = this.#options.refuse(peer);
    if (refused === null) return peer;
    if (served.access === 'anyone') return null;
    throw refused;
  }

  #identify(raw: Buffer, address: string): PeerIdentity {
    const key = raw.toString('latin1');
    let peer = this.#verified.get(key);
    if (peer === undefined) {
      peer = nodeOfCertificate(new X509Certificate(raw), this.#identity.vo, address);
      if (this.#verified.size > 1_000) this.#verified.clear();
      this.#verified.set(key, peer);
    }
    return peer;
  }

  #status(thrown: unknown, served: Served): Partial<grpc.StatusObject> & Error {
    const error = asXosError(thrown);
    const internal = error.code === 'XOS_INTERNAL';
    if (internal) this.#options.log.error('a call failed', { service: served.definition.fullName, reason: describe(thrown) });
    else if (error.code === 'XOS_NOT_ADMITTED') this.#options.log.warn('a call was refused', { service: served.definition.fullName, reason: error.message });
    const metadata = new grpc.Metadata();
    metadata.set('xos-error-bin', Buffer.from(JSON.stringify(error.toWire())));
    return Object.assign(new Error(error.message), { code: statusOf(error.code), details: error.message, metadata });
  }
}

/** The node that a certificate of our node CA names; throws XOS_NOT_ADMITTED when it names none of this VO. */
export function nodeOfCertificate(certificate: X509Certificate, vo: string, address: string): PeerIdentity {
  const uris = (certificate.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:')).map((name) => parseUri(name.slice(4)));
  const [uri] = uris;
  if (uris.length !== 1 || uri === null || uri === undefined || uri.kind !== 'node' || uri.vo !== vo) {
    throw new XosError('XOS_NOT_ADMITTED', `caller '${address}' has a certificate that names no node of VO '${vo}'`, { address });
  }
  return { vo, node: uri.name, serial: certificate.serialNumber.toLowerCase() };
}

/**
 * A client for a node that is to join: it has no certificate, and trusts only `root` (checked against the pin of its token by the caller)
 * and only the node named `registry`. The caller closes it.
 */
export function joiningClient<D extends ServiceDefinition>(
  where: { address: string; port: number; vo: string; registry: string; root: string },
  definition: D,
  clock: Clock,
): { client: RpcClient<D>; close(): void } {
  const channel = new grpc.Client(target(where.address, where.port), grpc.credentials.createSsl(Buffer.from(where.root)), channelOptions(nodeHost(where.vo, where.registry)));
  const methods: Record<string, unknown> = {};
  for (const [key, method] of Object.entries(definition.methods)) methods[key] = remoteMethod(() => channel, definition, method, where.registry, clock);
  return { client: methods as RpcClient<D>, close: () => channel.close() };
}

/**
 * The certificates that a TLS server shows, leaf first, PEM. Nothing is verified: for a joining node, which looks for the root that its
 * token pins and verifies on a second connection.
 */
export function shownChain(address: string, port: number, signal: AbortSignal): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, rejectUnauthorized: false, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' });
    const aborted = (): void => void socket.destroy(asXosError(signal.reason, 'XOS_ABORTED'));
    signal.addEventListener('abort', aborted, { once: true });
    socket.once('error', (cause) => reject(new XosError('XOS_UNREACHABLE', `cannot reach '${address}:${port}': ${cause.message}`, { address, port }, { cause })));
    socket.once('close', () => signal.removeEventListener('abort', aborted));
    socket.once('secureConnect', () => {
      const chain: string[] = [];
      // The last certificate is its own issuer.
      for (let certificate = socket.getPeerX509Certificate(); certificate !== undefined && chain.length < 8; certificate = certificate.issuerCertificate) {
        const pem = certificate.toString();
        if (chain.at(-1) === pem) break;
        chain.push(pem);
      }
      resolve(chain);
      socket.destroy();
    });
  });
}

function target(address: string, port: number): string {
  return address.includes(':') ? `ipv6:[${address}]:${port}` : /^[0-9.]+$/.test(address) ? `ipv4:${address}:${port}` : `dns:${address}:${port}`;
}

function grpcMethod(service: ServiceDefinition, method: MethodDefinition): grpc.MethodDefinition<unknown, unknown> {
  if (method.requestStream) throw new XosError('XOS_INTERNAL', `'${service.fullName}/${method.name}': streams of requests are not served`);
  return {
    path: `/${service.fullName}/${method.name}`,
    requestStream: false,
    responseStream: method.responseStream,
    requestSerialize: (message) => Buffer.from(method.requestType.encode(message).finish()),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: (message) => Buffer.from(method.responseType.encode(message).finish()),
    responseDeserialize: (bytes) => method.responseType.decode(bytes),
  };
}

function remoteMethod(channel: () => grpc.Client, service: ServiceDefinition, method: MethodDefinition, node: string, clock: Clock) {
  const { path, requestSerialize, responseDeserialize } = grpcMethod(service, method);
  const deadlineOf = (options: RpcOptions): grpc.CallOptions => {
    const deadline_ms = options.deadline_ms ?? limits.rpc_deadline_ms;
    return { deadline: deadline_ms === 0 ? Infinity : clock.now_ms() + deadline_ms };
  };
  if (method.responseStream) {
    return async function* (request: unknown, options: RpcOptions = {}): AsyncGenerator<unknown> {
      options.signal?.throwIfAborted();
      const stream = channel().makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, new grpc.Metadata(), deadlineOf(options));
      const cancel = (): void => stream.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
      try {
        yield* stream;
      } catch (thrown) {
        throw fromStatus(thrown, node, path, options.signal);
      } finally {
        options.signal?.removeEventListener('abort', cancel);
        stream.on('error', () => {}); // the cancellation below reports itself
        stream.cancel();
      }
    };
  }
  return async (request: unknown, options: RpcOptions = {}): Promise<unknown> => {
    options.signal?.throwIfAborted();
    const client = channel();
    return await new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, new grpc.Metadata(), deadlineOf(options), (failed, response) => {
        options.signal?.removeEventListener('abort', cancel);
        if (failed === null) resolve(response);
        else reject(fromStatus(failed, node, path, options.signal));
      });
      const cancel = (): void => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
  };
}

function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const aborted = (): void => reject(asXosError(signal.reason, 'XOS_ABORTED'));
    signal.addEventListener('abort', aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}

const statuses: Readonly<Record<string, grpc.status>> = {
  XOS_NOT_ADMITTED: grpc.status.UNAUTHENTICATED,
  XOS_DENIED: grpc.status.PERMISSION_DENIED,
  XOS_INTERNAL: grpc.status.INTERNAL,
  XOS_ABORTED: grpc.status.CANCELLED,
  XOS_BAD_NAME: grpc.status.INVALID_ARGUMENT,
  XOS_BAD_ARGUMENT: grpc.status.INVALID_ARGUMENT,
};
const statusOf = (code: string): grpc.status => statuses[code] ?? grpc.status.FAILED_PRECONDITION;

function fromStatus(thrown: unknown, node: string, path: string, signal: AbortSignal | undefined): XosError {
  const status = thrown as Partial<grpc.ServiceError>;
  const [wire] = status.metadata?.get('xos-error-bin') ?? [];
  if (wire !== undefined) {
    try {
      return XosError.fromWire(JSON.parse(wire.toString()) as object);
    } catch {
      return new XosError('XOS_MALFORMED', `node '${node}' answered '${path}' with an error that cannot be read`, { node });
    }
  }
  if (signal?.aborted === true) return asXosError(signal.reason, 'XOS_ABORTED');
  const what = `cannot call '${path}' on node '${node}': `;
  if (status.code === grpc.status.DEADLINE_EXCEEDED) return new XosError('XOS_TIMEOUT', `${what}no answer in time`, { node }, { cause: thrown });
  if (status.code === grpc.status.UNIMPLEMENTED) return new XosError('XOS_UNIMPLEMENTED', `${what}it does not serve that`, { node }, { cause: thrown });
  if (status.code === grpc.status.UNAVAILABLE) return new XosError('XOS_UNREACHABLE', `${what}${status.details ?? 'no connection'}`, { node }, { cause: thrown });
  return new XosError('XOS_RPC', `${what}${status.details ?? describe(thrown)}`, { node }, { cause: thrown });
}
