#pragma once

// The operand lists of matrix products (wgmma.cuh, wgmma_tf32.cuh): the accumulators d[0] to d[count - 1] as constraints,
// and their names %0 to %(count - 1).

#define PANTILE_REG8(o)                                                                                                \
    "+f"(d[o]), "+f"(d[o + 1]), "+f"(d[o + 2]), "+f"(d[o + 3]), "+f"(d[o + 4]), "+f"(d[o + 5]), "+f"(d[o + 6]),        \
        "+f"(d[o + 7])
#define PANTILE_REG16(o) PANTILE_REG8(o), PANTILE_REG8(o + 8)
#define PANTILE_REG32(o) PANTILE_REG16(o), PANTILE_REG16(o + 16)

#define PANTILE_NAMES_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define PANTILE_NAMES_32 PANTILE_NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define PANTILE_NAMES_40 PANTILE_NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define PANTILE_NAMES_56 PANTILE_NAMES_40 ",%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55"
#define PANTILE_NAMES_64 PANTILE_NAMES_56 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define PANTILE_NAMES_96                                                                                               \
    PANTILE_NAMES_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"                                \
                     ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define PANTILE_NAMES_128                                                                                              \
    PANTILE_NAMES_96 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"                    \
                     ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

/// Takes the brackets off a list that had to pass through a macro as one argument.
#define PANTILE_LIST(...) __VA_ARGS__
