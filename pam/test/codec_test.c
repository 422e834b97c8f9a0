// Percent-coding and names: what a stranger typed or a broken agent sent must not be taken for something else.
#include <stdlib.h>
#include <string.h>
#include "../common/codec.h"
#include "../common/name.h"
#include "check.h"

static void every_byte_comes_back(void) {
  char text[256], coded[3 * 255 + 1];
  for (int i = 0; i < 255; i++) text[i] = (char)(i + 1);
  text[255] = '\0';
  long length = xos_percent_encode(coded, sizeof coded, text);
  CHECK(length > 0 && strlen(coded) == (size_t)length);
  CHECK(strspn(coded, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._:/+-%") == strlen(coded));
  CHECK(xos_percent_decode(coded) == 255);
  CHECK(memcmp(coded, text, 256) == 0);
}

static void exact_room_is_enough_and_one_less_is_not(void) {
  // From the heap, so that the sanitizer sees one byte too many.
  char *exact = malloc(5), *less = malloc(4);
  CHECK(xos_percent_encode(exact, 5, "a b") == -1);  // a%20b is 5 and its NUL
  CHECK(exact[0] == '\0');
  CHECK(xos_percent_encode(exact, 5, "a ") == 4 && strcmp(exact, "a%20") == 0);
  CHECK(xos_percent_encode(less, 4, "a ") == -1);
  CHECK(xos_percent_encode(exact, 1, "") == 0);
  CHECK(xos_percent_encode(exact, 0, "") == -1);
  free(exact);
  free(less);
}

static long decode(const char *text) {
  char *copy = strdup(text);
  long length = xos_percent_decode(copy);
  CHECK(length < 0 || strlen(copy) == (size_t)length);
  free(copy);
  return length;
}

static void only_well_coded_text_is_decoded(void) {
  CHECK(decode("") == 0);
  CHECK(decode("%41%2a") == 2);
  static const char *const bad[] = {"%", "%4", "a%", "%%41", "%00", "a%00b", "%g0", "%0g", "a b", "a=b", "\"", "a\tb", "\x80", "%-1", "%+1", "% 1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(decode(bad[i]) == -1);
}

static void names_are_name_at_vo_and_nothing_else(void) {
  struct xos_name name;
  CHECK(xos_name_parse("alice@demo", &name) == XOS_NAME_GRID);
  CHECK(strcmp(name.user, "alice") == 0 && strcmp(name.vo, "demo") == 0);
  CHECK(xos_name_parse("a.b-c_1@physics.example-1", &name) == XOS_NAME_GRID);
  CHECK(xos_name_parse(NULL, &name) == XOS_NAME_LOCAL);
  CHECK(xos_name_parse("", &name) == XOS_NAME_LOCAL);
  CHECK(xos_name_parse("root", &name) == XOS_NAME_LOCAL);
  static const char *const bad[] = {"@", "alice@", "@demo", "a@b@c", "-a@demo", ".@demo", "..@demo", "a@-x", "a@..", "a/b@demo", "a@../x", "a b@demo",
                                    "a:0@demo", "a@demo\n", "a\n@demo", "%s@%n", "a@d$(x)", "\xc3\xa4@demo", "a,b@demo", "*@demo"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(xos_name_parse(bad[i], &name) == XOS_NAME_BAD);
  char longest[2 * XOS_NAME_PART_MAX + 2], longer[2 * XOS_NAME_PART_MAX + 3];
  memset(longest, 'a', sizeof longest);
  longest[XOS_NAME_PART_MAX] = '@';
  longest[sizeof longest - 1] = '\0';
  CHECK(xos_name_parse(longest, &name) == XOS_NAME_GRID);
  memset(longer, 'a', sizeof longer);
  longer[XOS_NAME_PART_MAX + 1] = '@';
  longer[sizeof longer - 1] = '\0';
  CHECK(xos_name_parse(longer, &name) == XOS_NAME_BAD);
}

int main(void) {
  every_byte_comes_back();
  exact_room_is_enough_and_one_less_is_not();
  only_well_coded_text_is_decoded();
  names_are_name_at_vo_and_nothing_else();
  return finish("codec");
}
