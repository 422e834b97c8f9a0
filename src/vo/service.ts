import type { Rpc } from '../core/rpc.ts';
import { AdmissionDefinition, ResourcesDefinition } from '../proto/xos/admission/v1/admission.ts';
import { CredentialsDefinition } from '../proto/xos/credential/v1/credential.ts';
import { RegistryDefinition } from '../proto/xos/registry/v1/registry.ts';
import { administerFor } from './ops/authorize.ts';
import { changePassword } from './ops/change-password.ts';
import { certifySshHost } from './ops/certify-ssh-host.ts';
import { delegateCredential } from './ops/delegate-credential.ts';
import { issueCredential } from './ops/issue-credential.ts';
import { joinNode } from './ops/join-node.ts';
import { renewCredential } from './ops/renew-credential.ts';
import { renewNode } from './ops/renew-node.ts';
import { watchDocuments } from './ops/watch-documents.ts';
import { ProofGate } from './proof.ts';
import type { Registry } from './registry.ts';

/** Puts the registry, the CDA and the RCA on the node's gRPC server. */
export function serveRegistry(rpc: Rpc, registry: Registry): void {
  const gate = new ProofGate(`${registry.directory}/proofs.json`, registry.ports);
  rpc.serve(RegistryDefinition, {
    watch: (request, call) => watchDocuments(registry, request, call),
    admin: (request, call) => administerFor(registry, gate, request, call),
  });
  rpc.serve(CredentialsDefinition, {
    issue: (request, call) => issueCredential(registry, request, call),
    renew: (request, call) => renewCredential(registry, gate, request, call),
    delegate: (request, call) => delegateCredential(registry, gate, request, call),
    changePassword: (request, call) => changePassword(registry, request, { node: call.peer!.node, signal: call.signal }),
  });
  rpc.serve(AdmissionDefinition, { join: (request) => joinNode(registry, request) }, 'anyone');
  rpc.serve(ResourcesDefinition, {
    renew: (request, call) => renewNode(registry, request, call),
    certifySshHost: (request, call) => certifySshHost(registry, request, call),
  });
}
