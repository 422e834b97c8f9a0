// nlohmann/json, compiled once: its parser and its writer take some 5 s (10 s with sanitizers) in each file that uses them otherwise.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

extern template class nlohmann::basic_json<>;

namespace xos {

/// The value that `text` is. Of what is no JSON: a discarded value, of no type and no use (basic_json::is_discarded).
nlohmann::json parse_json(std::string_view text);
nlohmann::json parse_json(std::span<const uint8_t> text);

/// On one line. Bytes that are no UTF-8 become U+FFFD.
std::string json_text(const nlohmann::json& value);

}  // namespace xos
