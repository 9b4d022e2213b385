# How a cell is written, and numbers in it.

SKIP = 0
TEXT = 1
JSON = 2
JSONB = 3
BYTEA = 4
OPAQUE = 5
INT8 = 6
NUMERIC = 7
FLOAT8 = 8
FLOAT_TEXT = 9
ARRAY = 16

cdef enum:
    K_SKIP = 0
    K_TEXT = 1
    K_JSON = 2
    K_JSONB = 3
    K_BYTEA = 4
    K_OPAQUE = 5
    K_INT8 = 6
    K_NUMERIC = 7
    K_FLOAT8 = 8
    K_FLOAT_TEXT = 9
    K_ARRAY = 16
    MOST_DIGIT_GROUPS = 7


cdef inline int32_t big32(const unsigned char* data) noexcept nogil:
    return <int32_t>((<unsigned int>data[0] << 24) | (<unsigned int>data[1] << 16) \
        | (<unsigned int>data[2] << 8) | <unsigned int>data[3])


cdef inline int big16(const unsigned char* data) noexcept nogil:
    return (data[0] << 8) | data[1]
