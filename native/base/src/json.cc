#include "json.h"

template class nlohmann::basic_json<>;

namespace xos {

nlohmann::json parse_json(std::string_view text) { return nlohmann::json::parse(text.begin(), text.end(), nullptr, false); }

nlohmann::json parse_json(std::span<const uint8_t> text) { return parse_json(std::string_view(reinterpret_cast<const char*>(text.data()), text.size())); }

std::string json_text(const nlohmann::json& value) { return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

}  // namespace xos
