// Signing and verifying manifests with the certificates of nodes.
#pragma once
#include <cstdint>
#include <string>

namespace xos::checkpoint {

/// SHA-256 in hex.
std::string sha256Hex(const std::string& bytes);

/// Certificate (PEM) of the node whose credentials lie in `credentials`; empty when there is none.
std::string nodeCertificate(const std::string& credentials);
/// Signs with `credentials`/key.pem. Empty when that is not possible.
std::string sign(const std::string& credentials, const std::string& text);
/// Certificates (PEM) that vouch for the nodes of the VO, of a node whose credentials lie in `credentials`; empty when there are none.
std::string nodeAuthority(const std::string& credentials);
/// Whether `signature` of `text` was made by the holder of `certificate`, and that is a node's of `vo` under `authority` (PEM) at
/// `time_ms` (Unix time). Returns an empty text when so, else why not.
std::string verifySignature(const std::string& authority, const std::string& vo, const std::string& certificate,
                            const std::string& signature, const std::string& text, int64_t time_ms);

}  // namespace xos::checkpoint
