/*
 * json.h - is it JSON?
 */
#ifndef QR_TEST_JSON_H
#define QR_TEST_JSON_H

#include <stdbool.h>

/* Is all of the text one value, of what the library writes? */
bool json_valid(const char *text);

/*
 * What follows the quoted string, or natural number, that s begins with; NULL
 * when it begins with none.
 */
const char *json_text(const char *s);
const char *json_number(const char *s);

#endif /* QR_TEST_JSON_H */
