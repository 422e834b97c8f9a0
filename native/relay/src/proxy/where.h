// xrun --where: asks this node's xosd for the best node that fits a query.
#pragma once
#include <stddef.h>

namespace xos::relay {

/// Writes the node's name. False when there is none or it could not be asked: `why` then says it in words.
bool choose_node(const char* query, char* node, size_t node_size, char* why, size_t why_size);

/// One line of xosd's answer: the value of the text field `name`, unescaped. False when it has none or it does not fit.
bool text_field(const char* line, const char* name, char* value, size_t size);

}  // namespace xos::relay
